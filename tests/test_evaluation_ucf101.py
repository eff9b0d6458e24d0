"""UCF-101 as a reference: its classes, their sentences, its splits, and what is refused of a broken copy."""

import os
import re
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as checks
from hypothesis import strategies as st

from tasks.errors import RequestError
from tasks.evaluation.protocols import check_fps, find_protocol
from tasks.evaluation.setup import ProtocolSetup
from tasks.evaluation.ucf101 import (
    class_prompts,
    is_ucf101,
    prompts_by_distribution,
    read_ucf101,
    train_class_counts,
)
from tests.ucf101_layout import write_numbered_video, write_ucf101

CLASSIND = """
ApplyEyeMakeup ApplyLipstick Archery BabyCrawling BalanceBeam BandMarching BaseballPitch Basketball
BasketballDunk BenchPress Biking Billiards BlowDryHair BlowingCandles BodyWeightSquats Bowling
BoxingPunchingBag BoxingSpeedBag BreastStroke BrushingTeeth CleanAndJerk CliffDiving CricketBowling
CricketShot CuttingInKitchen Diving Drumming Fencing FieldHockeyPenalty FloorGymnastics FrisbeeCatch
FrontCrawl GolfSwing Haircut Hammering HammerThrow HandstandPushups HandstandWalking HeadMassage
HighJump HorseRace HorseRiding HulaHoop IceDancing JavelinThrow JugglingBalls JumpingJack JumpRope
Kayaking Knitting LongJump Lunges MilitaryParade Mixing MoppingFloor Nunchucks ParallelBars
PizzaTossing PlayingCello PlayingDaf PlayingDhol PlayingFlute PlayingGuitar PlayingPiano
PlayingSitar PlayingTabla PlayingViolin PoleVault PommelHorse PullUps Punch PushUps Rafting
RockClimbingIndoor RopeClimbing Rowing SalsaSpin ShavingBeard Shotput SkateBoarding Skiing Skijet
SkyDiving SoccerJuggling SoccerPenalty StillRings SumoWrestling Surfing Swing TableTennisShot TaiChi
TennisSwing ThrowDiscus TrampolineJumping Typing UnevenBars VolleyballSpiking WalkingWithDog
WallPushups WritingOnBoard YoYo
"""

TRAIN = {"HandstandPushups": 3, "Swing": 1, "YoYo": 2}
TEST = {"HandstandPushups": 1, "Swing": 2}


@pytest.fixture(scope="module")
def whole_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that no test changes."""
    return write_ucf101(tmp_path_factory.mktemp("whole"), TRAIN, TEST)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy to break."""
    return write_ucf101(tmp_path, TRAIN, TEST)


def test_each_class_has_one_sentence_of_its_own() -> None:
    prompts = class_prompts()
    assert len(prompts) == len(set(prompts.values())) == 101
    for prompt in prompts.values():
        assert re.fullmatch(r"[a-z,\- ]+[a-z]", prompt) and 8 <= len(prompt.split()) <= 16, prompt


def test_class_names_and_their_order_are_those_of_classind_txt() -> None:
    assert list(class_prompts()) == CLASSIND.split()


def test_videos_carry_their_class_s_sentence(whole_copy: Path) -> None:
    assert is_ucf101(whole_copy)
    sources = read_ucf101(whole_copy, "train+test")
    uris = [source.uri for source in sources]
    assert len(uris) == 9 and uris == sorted(uris)
    assert "HandstandPushups/v_HandStandPushups_g08_c02.avi" in uris
    for source in sources:
        (caption,) = source.captions
        assert caption.text == class_prompts()[source.uri.split("/")[0]] and source.problem is None
        assert Path(source.place.url) == whole_copy / source.uri


def test_splits_are_those_of_the_lists(whole_copy: Path) -> None:
    train = {source.uri for source in read_ucf101(whole_copy, "train")}
    test = {source.uri for source in read_ucf101(whole_copy, "test")}
    assert {"g08"} == {uri.split("_")[-2] for uri in train} and len(train) == 6
    assert {"g01"} == {uri.split("_")[-2] for uri in test} and len(test) == 3
    assert {source.uri for source in read_ucf101(whole_copy, "train+test")} == train | test


def test_lists_may_lie_inside_and_videos_in_no_list_are_left_out(folder: Path) -> None:
    (folder.parent / "ucfTrainTestlist").rename(folder / "ucfTrainTestlist")
    write_numbered_video(folder / "YoYo/v_YoYo_g99_c01.avi", 2)
    assert is_ucf101(folder)
    assert len(read_ucf101(folder, "train+test")) == 9
    assert train_class_counts(folder) == TRAIN


def test_another_fold_needs_its_own_lists(folder: Path) -> None:
    with pytest.raises(RequestError, match=r"^reference: .*no ucfTrainTestlist/trainlist02\.txt"):
        read_ucf101(folder, "train", fold=2)
    lists = folder.parent / "ucfTrainTestlist"
    (lists / "trainlist02.txt").write_text((lists / "testlist01.txt").read_text())
    (lists / "testlist02.txt").write_text("")
    assert {source.uri.split("_")[-2] for source in read_ucf101(folder, "train", fold=2)} == {"g01"}
    with pytest.raises(RequestError, match="fold 2 name no video of split test"):
        read_ucf101(folder, "test", fold=2)


def _unknown_class(folder: Path) -> None:
    (folder / "YoYo").rename(folder / "Yoyo")


def _unknown_class_in_the_lists(folder: Path) -> None:
    path = folder.parent / "ucfTrainTestlist/trainlist01.txt"
    path.write_text(path.read_text().replace("YoYo/", "Yoyo/"))
    (folder / "YoYo").rename(folder / "Yoyo")


def _missing_videos(folder: Path) -> None:
    for take in (2, 3):
        (folder / f"HandstandPushups/v_HandStandPushups_g08_c0{take}.avi").unlink()


def _link_out_of_it(folder: Path) -> None:
    path = folder / "Swing/v_Swing_g08_c01.avi"
    path.rename(folder.parent / "elsewhere.avi")
    path.symlink_to(folder.parent / "elsewhere.avi")


def _no_lists(folder: Path) -> None:
    os.rename(folder.parent / "ucfTrainTestlist", folder.parent / "lists")


def _unreadable_list(folder: Path) -> None:
    path = folder.parent / "ucfTrainTestlist/trainlist01.txt"
    path.unlink()
    path.mkdir()


def _no_folder(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (_unknown_class, "UCF-101 has no class 'Yoyo'"),
        (_unknown_class_in_the_lists, "UCF-101 has no class 'Yoyo'"),
        (
            _missing_videos,
            "lacks 2 of the 6 videos of split train, fold 1, the first of them "
            "HandstandPushups/v_HandStandPushups_g08_c02;",
        ),
        (_link_out_of_it, "lacks 1 of the 6 videos of split train"),
        (_no_lists, r"no ucfTrainTestlist/trainlist01\.txt in it or beside it"),
        (_unreadable_list, r"no ucfTrainTestlist/trainlist01\.txt in it or beside it"),
        (_no_folder, "is no folder"),
    ],
)
def test_broken_copies_are_refused_in_one_line(folder: Path, break_it, told: str) -> None:
    break_it(folder)
    with pytest.raises(RequestError, match=told) as caught:
        read_ucf101(folder, "train")
    assert str(caught.value).startswith("reference: ") and "\n" not in str(caught.value)


def test_counts_of_unknown_classes_are_refused(folder: Path) -> None:
    _unknown_class_in_the_lists(folder)
    with pytest.raises(RequestError, match="UCF-101 has no class 'Yoyo'"):
        train_class_counts(folder)


def test_only_its_layout_is_taken_for_ucf101(folder: Path, tmp_path: Path) -> None:
    assert not is_ucf101(tmp_path / "none")
    assert not is_ucf101(folder / "Swing")  # videos, but no class folders
    _unknown_class(folder)
    assert is_ucf101(folder)  # read_ucf101 says what is wrong with it
    for name in ("holiday", "birthday", "work", "garden"):
        write_numbered_video(folder / name / "a.avi", 2)
    assert not is_ucf101(folder)


def test_a_manifest_s_captions_come_first(folder: Path) -> None:
    (folder / "manifest.tsv").write_text("file\tcaption\nSwing/v_Swing_g08_c01.avi\ta swing\n")
    assert not is_ucf101(folder)


class_counts = st.dictionaries(
    st.sampled_from(sorted(class_prompts())), st.integers(0, 200), min_size=1
).filter(lambda counts: sum(counts.values()) > 0)


@checks(deadline=None)  # a busy machine is no failure
@given(class_counts, st.integers(0, 600), st.integers(0, 2**32 - 1))
def test_prompts_follow_the_distribution(counts: dict[str, int], num_videos: int, seed: int) -> None:
    prompts = prompts_by_distribution(counts, num_videos, seed)
    shown, total = Counter(prompts), sum(counts.values())
    assert len(prompts) == num_videos
    assert set(shown) <= {class_prompts()[label] for label in counts}
    for label, count in counts.items():
        exact = num_videos * count / total
        assert abs(shown[class_prompts()[label]] - exact) < 1
        assert count > 0 or not shown[class_prompts()[label]]
    turned = dict(reversed(counts.items()))
    assert prompts == prompts_by_distribution(turned, num_videos, seed)


def test_as_many_videos_as_the_split_has_give_its_counts_in_a_drawn_order() -> None:
    counts = dict.fromkeys(class_prompts(), 3) | {"Swing": 40}
    prompts = prompts_by_distribution(counts, sum(counts.values()), seed=4)
    names = {prompt: label for label, prompt in class_prompts().items()}
    assert Counter(names[prompt] for prompt in prompts) == counts
    assert prompts != prompts_by_distribution(counts, sum(counts.values()), seed=5)
    # Sorted, the first 30 would show 10 classes.
    assert len(set(prompts[:30])) > 20


@pytest.mark.parametrize("counts", [{}, {"YoYo": 0}, {"YoYo": 3, "Swing": -1}, {"Yoyo": 1}])
def test_counts_that_say_nothing_are_refused(counts: dict[str, int]) -> None:
    with pytest.raises(RequestError, match="counts: "):
        prompts_by_distribution(counts, 10, seed=0)


def test_published_protocols_have_their_published_numbers() -> None:
    stylegan, paper = find_protocol("fvd2048-16f"), find_protocol("vidrd-paper")
    assert (stylegan.default_num_videos, stylegan.num_frames, stylegan.ddof) == (2048, 16, 0)
    assert (stylegan.fps, stylegan.position, stylegan.split) == ("native", "random", "train+test")
    assert (paper.default_num_videos, paper.prompts, paper.split) == (10_000, "class-distribution", "train")
    for name in ("tiny", "quick"):
        unpublished = find_protocol(name)
        assert "no published" in unpublished.about and unpublished.position == "middle"


def test_the_setup_tells_unlike_evaluations_apart() -> None:
    setups = [
        ProtocolSetup.of(find_protocol(name), fps=fps, num_videos=n, num_reference=n)
        for name in ("tiny", "quick", "fvd2048-16f", "vidrd-paper")
        for fps in (4.0, 25.0)
        for n in (40, 2048)
    ]
    assert len({repr(setup) for setup in setups}) == len(setups)
    assert all(isinstance(value, str | int | float) for setup in setups for value in asdict(setup).values())
    assert setups[-1].fps_rule == "model" and "224x224" in setups[-1].resize


def test_native_frames_are_refused_beside_a_model_of_another_rate() -> None:
    native = find_protocol("fvd2048-16f")
    with pytest.raises(RequestError, match=r"25 fps.*4 fps.*use tiny, quick or vidrd-paper"):
        check_fps(native, model_fps=4.0, native_fps=25.0)
    check_fps(native, model_fps=24.0, native_fps=25.0)
    with pytest.raises(RequestError):
        check_fps(native, model_fps=24.0, native_fps=30000 / 1001)
    check_fps(find_protocol("quick"), model_fps=4.0, native_fps=25.0)


def test_unknown_protocols_name_the_known() -> None:
    with pytest.raises(RequestError, match="'fvd' is unknown; use tiny, quick, fvd2048-16f or vidrd-paper"):
        find_protocol("fvd")
