"""Registration answers of the lab edge (EDGE-1; REG-4, 5, 7, 12 to 14 and 16 seen from the network)."""

import pytest

from ueagent.lab.faults import Mode
from ueagent.lab.registrar import RegisterRequest, RegisterResponse, Registrar

CLIENT = ("sdes-srtp;mediasec, msrp-tls;mediasec",)
SERVER = ("sdes-srtp;mediasec",)


def request(*, verify: tuple[str, ...] = (), client: tuple[str, ...] = CLIENT, strict: bool = False) -> RegisterRequest:
    tags = ("mediasec",) if strict else ()
    return RegisterRequest("home", client, verify, require=tags, proxy_require=tags)


def registered(registrar: Registrar, **options: bool) -> list[RegisterResponse]:
    first = registrar.register(request(**options))
    return [first, registrar.register(request(verify=first.security_server, **options))]


def test_3gpp_mode_lists_in_401_and_200() -> None:
    registrar = Registrar()
    assert registered(registrar) == [RegisterResponse(401, SERVER), RegisterResponse(200, SERVER)]
    assert registrar.agreed("home")


def test_list_in_200_only() -> None:
    registrar = Registrar(Mode.LIST_IN_200)
    assert registered(registrar) == [RegisterResponse(401), RegisterResponse(200, SERVER)]
    assert registrar.agreed("home")


def test_mode_none_lists_nothing_and_agrees_nothing() -> None:
    registrar = Registrar(Mode.NONE)
    assert registered(registrar) == [RegisterResponse(401), RegisterResponse(200)]
    assert not registrar.agreed("home")


def test_lying_mode_announces() -> None:
    registrar = Registrar(Mode.LYING)
    assert registered(registrar)[1] == RegisterResponse(200, SERVER)


def test_strict_mode_wants_the_option_tag() -> None:
    """REG-14."""
    registrar = Registrar(Mode.STRICT)
    assert registrar.register(request()) == RegisterResponse(421, require=("mediasec",))
    assert [response.status for response in registered(registrar, strict=True)] == [401, 200]


def test_other_modes_do_not_know_the_option_tag() -> None:
    """REG-14."""
    assert Registrar().register(request(strict=True)) == RegisterResponse(420, unsupported=("mediasec",))


@pytest.mark.parametrize(
    "verify",
    [(), ("sdes-srtp; mediasec",), ("msrp-tls;mediasec",), ("sdes-srtp;mediasec, sdes-srtp;mediasec",)],
    ids=["absent", "respelt", "other", "twice"],
)
def test_security_verify_that_differs_gets_494(verify: tuple[str, ...]) -> None:
    """REG-13: octets of each entry, and their order."""
    registrar = Registrar()
    registrar.register(request())
    assert registrar.register(request(verify=verify)) == RegisterResponse(494, SERVER)
    assert not registrar.agreed("home")


def test_comma_list_mirrors_repeated_fields() -> None:
    """REG-12."""
    registrar = Registrar(own_list=("ipsec-3gpp;q=0.1;alg=hmac-sha-1-96", "sdes-srtp;mediasec"))
    registrar.register(request())
    mirrored = ("ipsec-3gpp;q=0.1;alg=hmac-sha-1-96, sdes-srtp;mediasec",)
    assert registrar.register(request(verify=mirrored)).status == 200


def test_after_494_a_fresh_start_succeeds() -> None:
    """REG-13."""
    registrar = Registrar()
    registrar.register(request())
    registrar.register(request(verify=("wrong",)))
    assert [response.status for response in registered(registrar)] == [401, 200]


def test_refreshed_registration_brings_the_new_list() -> None:
    """REG-7."""
    registrar = Registrar()
    registered(registrar)
    registrar.own_list = ("msrp-tls;mediasec",)
    assert registrar.register(request(verify=SERVER)) == RegisterResponse(200, ("msrp-tls;mediasec",))
    assert not registrar.agreed("home")


def test_binding_that_is_gone_has_no_agreement() -> None:
    """REG-8."""
    registrar = Registrar()
    registered(registrar)
    registrar.release("home")
    assert not registrar.agreed("home")


def test_ue_that_announces_nothing_gets_no_list() -> None:
    registrar = Registrar()
    assert registrar.register(request(client=())) == RegisterResponse(401)


def test_malformed_values_get_400() -> None:
    assert Registrar().register(request(client=(";;;",))).status == 400


def test_strict_mode_wants_security_verify_in_every_request() -> None:
    """REG-16."""
    registrar = Registrar(Mode.STRICT)
    registered(registrar, strict=True)
    assert registrar.check_request("home", ()) == 494
    assert registrar.check_request("home", SERVER) is None
    assert registrar.check_request("home", (";",)) == 400
    assert Registrar().check_request("home", ()) is None
