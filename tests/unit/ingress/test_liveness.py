from services.ingress.domain.liveness import OwnHeartbeat, Signs, Verdict, at, heard, judge

TRUSTED = OwnHeartbeat(heard_at=100.0, trusted_since=0.0)


def signs(*, heard_at: float | None, start_by: float = 115.0, deadline: float = 700.0) -> Signs:
    return Signs(start_by=start_by, deadline=deadline, heard_at=heard_at)


def test_a_generation_that_nobody_named_waits_for_start_by_and_a_second() -> None:
    assert judge(signs(heard_at=None), TRUSTED, now=115.9) is None
    assert judge(signs(heard_at=None), TRUSTED, now=116.1) is Verdict.NEVER_BEGUN


def test_a_generation_once_named_is_lost_after_five_silent_seconds() -> None:
    assert judge(signs(heard_at=101.0), TRUSTED, now=105.9) is None
    assert judge(signs(heard_at=101.0), TRUSTED, now=106.1) is Verdict.DISPATCHER_LOST


def test_nobody_is_judged_while_our_own_heartbeat_does_not_come_back() -> None:
    own = at(OwnHeartbeat(heard_at=100.0, trusted_since=0.0), now=103.5)
    assert not own.is_trusted
    assert judge(signs(heard_at=95.0), own, now=110.0) is None
    assert judge(signs(heard_at=None), own, now=125.0) is None


def test_after_an_interruption_everybody_gets_the_whole_time_again() -> None:
    own = heard(OwnHeartbeat(heard_at=100.0, trusted_since=None), now=120.0)
    assert judge(signs(heard_at=95.0), own, now=124.9) is None
    assert judge(signs(heard_at=95.0), own, now=125.1) is Verdict.DISPATCHER_LOST
    assert judge(signs(heard_at=None), own, now=124.9) is None
    assert judge(signs(heard_at=None), own, now=125.1) is Verdict.NEVER_BEGUN


def test_a_broker_that_stays_away_ends_what_runs() -> None:
    own = OwnHeartbeat(heard_at=100.0, trusted_since=None)
    assert judge(signs(heard_at=100.0), own, now=129.9) is None
    assert judge(signs(heard_at=100.0), own, now=130.1) is Verdict.BROKER_LOST


def test_a_deadline_ends_everything() -> None:
    assert judge(signs(heard_at=704.0), TRUSTED, now=705.1) is Verdict.OUT_OF_TIME


def test_a_heartbeat_that_comes_keeps_trust() -> None:
    own = heard(heard(OwnHeartbeat(heard_at=0.0, trusted_since=None), now=1.0), now=2.0)
    assert own == OwnHeartbeat(heard_at=2.0, trusted_since=1.0)
    assert at(own, now=4.9) == own
