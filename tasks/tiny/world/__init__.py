"""The generated world of the profile `tiny`: one shape crossing a dark ground, and a caption for it."""
