"""Addresses are shown without what signs in to them."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flows.profile import one_line
from flows.retrain.request import RetrainParams
from storage.errors import StorageError
from storage.local.addresses import without_secrets
from tasks.corpora.config import load_corpora
from tasks.errors import ItemError, RequestError
from tasks.training.settings import DecoderSettings, TemporalSettings


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("postgresql://me:hunter2@db:5432/mlflow", "postgresql://***@db:5432/mlflow"),
        ("postgresql+psycopg2://me:p%40ss@db/mlflow", "postgresql+psycopg2://***@db/mlflow"),
        ("postgresql://me:hun/hunter2@db/mlflow?a=1", "postgresql://***@db/mlflow?a=1"),
        ("http://me:a@b@host/x", "http://***@host/x"),
        ("postgresql://db/mlflow?user=me&password=hunter2&sslmode=require", None),
        ("https://host/a.tar?X-Amz-Signature=hunter2&X-Amz-Date=1", None),
        ("MLflow at http://me:hunter2@host: no", "MLflow at http://***@host: no"),
        ("s3://key:hunter2@bucket/a, s3://key:hunter2@bucket/b", "s3://***@bucket/a, s3://***@bucket/b"),
    ],
)
def test_names_and_passwords_are_not_told(told, shown):
    assert "hunter2" not in without_secrets(told)
    assert "a@b" not in without_secrets(told)
    if shown is not None:
        assert without_secrets(told) == shown


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5000/api",
        "sqlite:////tmp/mlflow.db",
        "s3://bucket/me@home/a.mp4",
        "a@b.c",
        "",
        "x://",
    ],
)
def test_other_addresses_stay_as_they_are(text):
    assert without_secrets(text) == text


PASSWORDS = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/?#'\"<>"), min_size=8
)


@pytest.mark.parametrize("error", [StorageError, RequestError, lambda text: ItemError(text, "read")])
def test_no_error_of_ours_tells_a_password(error):
    raised = error("sftp://me:hunter2@host/photos: cannot be reached")
    assert str(raised) == "sftp://***@host/photos: cannot be reached"
    assert "hunter2" not in repr(raised)
    assert "hunter2" not in str(pickle.loads(pickle.dumps(raised)))


def test_a_corpus_with_a_password_in_its_address_is_refused_without_telling_it(tmp_path):
    file = tmp_path / "corpora.toml"
    file.write_text(
        '[[corpus]]\nname = "a"\nkind = "images"\nformat = "folder"\nlicence = "CC0-1.0"\n'
        'path = "sftp://me:hunter2@host/photos"\n'
    )
    with pytest.raises(RequestError, match=r"path: .*holds a name or a password") as raised:
        load_corpora(file)
    assert "hunter2" not in str(raised.value)


@given(PASSWORDS, st.sampled_from(["postgresql", "http", "s3", "mysql+pymysql"]))
def test_no_password_is_left_whatever_it_is_made_of(password, scheme):
    marked = f"Q7{password}7Q"
    assert marked not in without_secrets(f"failed: {scheme}://me:{marked}@host:1/db (again)")


@pytest.mark.parametrize(
    ("model", "field", "address"),
    [
        (TemporalSettings, "checkpoints", "s3://KEY:hunter2@bucket/checkpoints"),
        (DecoderSettings, "checkpoints", "sftp://me:hunter2@host/checkpoints"),
        (RetrainParams, "profile", "https://host/profile.toml?token=hunter2"),
        (RetrainParams, "dataset", "s3://KEY:hunter2@bucket/dataset@build-0001"),
    ],
)
def test_a_password_in_an_address_of_a_request_is_refused_without_telling_it(model, field, address):
    """Prefect and MLflow would keep it with the parameters."""
    with pytest.raises(ValidationError) as raised:
        model.model_validate({field: address})
    assert f"{field}: holds a name or a password" in one_line(raised.value)
    assert "hunter2" not in one_line(raised.value)
