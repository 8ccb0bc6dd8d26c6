import pytest

from services.ingress.domain.client_address import (
    USER_AGENT_CHARACTERS_MAX,
    client_address,
    networks,
    shown_user_agent,
)

PROXIES = networks("10.0.0.0/8, ::1")


def test_a_peer_that_is_no_trusted_proxy_is_the_client_whatever_it_claims() -> None:
    assert client_address("192.0.2.1", ["203.0.113.9"], PROXIES) == "192.0.2.1"
    assert client_address("10.0.0.1", ["203.0.113.9"], ()) == "10.0.0.1"


def test_trusted_proxies_are_believed_from_the_nearest_on() -> None:
    claimed = ["198.51.100.7, 203.0.113.9", "10.0.0.2"]
    assert client_address("10.0.0.1", claimed, PROXIES) == "203.0.113.9"
    assert client_address("::1", ["2001:db8::5"], PROXIES) == "2001:db8::5"


def test_without_a_claim_or_with_one_that_is_none_the_proxy_itself_is_told() -> None:
    assert client_address("10.0.0.1", [], PROXIES) == "10.0.0.1"
    assert client_address("10.0.0.1", ["203.0.113.9, unknown"], PROXIES) == "10.0.0.1"
    assert client_address("10.0.0.1", ["10.0.0.3, 10.0.0.2"], PROXIES) == "10.0.0.3"


def test_an_ipv4_peer_on_an_ipv6_socket_is_shown_and_trusted_as_ipv4() -> None:
    assert client_address("::ffff:192.0.2.1", [], PROXIES) == "192.0.2.1"
    assert client_address("::ffff:10.0.0.1", ["203.0.113.9"], PROXIES) == "203.0.113.9"


def test_no_peer_is_no_address() -> None:
    assert client_address(None, ["203.0.113.9"], PROXIES) is None
    assert client_address("", ["203.0.113.9"], PROXIES) is None


@pytest.mark.parametrize("value", ["", "10.0.0.1/8", "proxy.local", "10.0.0.0/8,"])
def test_what_is_no_network_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="addresses or networks"):
        networks(value)


def test_a_user_agent_is_cut_and_printable() -> None:
    assert shown_user_agent("curl/8.5.0") == "curl/8.5.0"
    assert shown_user_agent("a\tb\udcffé") == "a?b??"
    assert len(shown_user_agent("x" * 5_000) or "") == USER_AGENT_CHARACTERS_MAX
    assert shown_user_agent(None) is None
    assert shown_user_agent("") is None
