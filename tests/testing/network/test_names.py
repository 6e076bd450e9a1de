"""Names, addresses and ports of a simulated network."""

import socket

import pytest

from kaygraph.testing.network.names import Names


def test_an_address_is_its_own_name() -> None:
    """Of both versions, and with the service by name or number."""
    names = Names()
    assert names.look_up("10.1.2.3", 80)[0][4] == ("10.1.2.3", 80)
    assert names.look_up("::1", "http")[0][4] == ("::1", 80, 0, 0)
    assert names.look_up(b"127.0.0.1", b"8080")[0][4] == ("127.0.0.1", 8080)


def test_names_have_one_address_each() -> None:
    """The same name, in whatever case, has the same address in a simulation."""
    names = Names()
    hosts = [names.look_up(name, 80)[0][4][0] for name in ("a.example", "b.example", "A.Example.")]
    assert hosts == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]
    assert names.look_up("a.example", 80, socket.AF_INET6)[0][4][0] == "fd00::a00:1"
    assert names.look_up("localhost", 80)[0][4][0] == "127.0.0.1"
    assert len({names.look_up(f"{n}.example", 0)[0][4][0] for n in range(1000)}) == 1000


def test_no_host_is_this_machine() -> None:
    """All of its addresses for a server, loopback for a client."""
    names = Names()
    assert names.look_up(None, 80, flags=socket.AI_PASSIVE)[0][4] == ("0.0.0.0", 80)
    assert names.look_up(None, 80)[0][4] == ("127.0.0.1", 80)
    six = names.look_up("", 80, socket.AF_INET6, flags=socket.AI_PASSIVE)
    assert six[0][4] == ("::", 80, 0, 0)


@pytest.mark.parametrize(
    ("host", "port", "family"),
    [("127.0.0.1", 80, socket.AF_INET6), ("localhost", "gopher-mail", 0)],
)
def test_what_cannot_be_looked_up(host: str, port: object, family: int) -> None:
    """The error is that of the real function."""
    with pytest.raises(socket.gaierror):
        Names().look_up(host, port, family)
