"""Every setting is documented, because the document is made from the settings."""

from deploy import env_example


def test_the_example_of_the_environment_is_up_to_date() -> None:
    assert env_example.main(["--check"]) == 0, "run `make schemas`"
