"""Strategies for MIKEY payloads and messages: everything that the codec can hold."""

from __future__ import annotations

from hypothesis import strategies as st

from ueagent.wire import mikey_payloads as p
from ueagent.wire.mikey import CryptoSession, DataType, Header, MapType, Message, Prf, SrtpSession


def octets(least: int = 0, most: int = 40) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=least, max_size=most)


def number(size: int) -> st.SearchStrategy[int]:
    return st.integers(0, (1 << 8 * size) - 1)


VALIDITIES = st.one_of(st.none(), st.builds(p.Spi, octets()), st.builds(p.Interval, octets(), octets()))
MACS = st.sampled_from([(0, 0), (1, 20), (2, 32)]).flatmap(
    lambda row: st.tuples(st.just(row[0]), octets(row[1], row[1]))
)
TIMES = st.sampled_from([(0, 8), (1, 8), (2, 4), (3, 4)]).flatmap(
    lambda row: st.tuples(st.just(row[0]), number(row[1]))
)
_POLICY = (number(2), number(1), number(1), st.integers(0, 127), st.integers(0, 0x1FFFF), octets())

V = MACS.map(lambda row: p.V(*row))
SIGN = st.builds(p.Sign, st.integers(0, 15), octets())
# Each may stand in a message many times.
FREE = st.one_of(
    st.builds(p.Pke, st.integers(0, 3), octets()),
    st.sampled_from([(0, 192), (1, 96), (2, 128)]).flatmap(
        lambda row: st.builds(p.Dh, st.just(row[0]), octets(row[1], row[1]), st.integers(0, 15), VALIDITIES)
    ),
    st.builds(p.Identity, number(1), octets()),
    st.builds(p.Cert, number(1), octets()),
    st.sampled_from([(0, 20), (1, 16), (2, 32)]).flatmap(
        lambda row: st.builds(p.Chash, st.just(row[0]), octets(row[1], row[1]))
    ),
    st.builds(p.Rand, octets()),
    st.builds(p.Err, number(1), number(2)),
    st.builds(lambda role, time: p.TimeRange(role, *time), number(1), TIMES),
    st.builds(p.Extension, number(1), octets()),
)
# Each occurs once (of its role or number).
SINGLE = (
    st.builds(lambda code, data, mac: p.Kemac(code, data, *mac), number(1), octets(), MACS),
    TIMES.map(lambda row: p.Timestamp(*row)),
    st.builds(p.Sp, number(1), number(1), st.lists(st.tuples(number(1), octets()), max_size=4).map(tuple)),
    st.builds(p.Idr, number(1), number(1), octets()),
    st.builds(p.Randr, number(1), octets()),
    st.builds(p.TicketPolicy, *_POLICY),
    st.builds(p.TicketPayload, *_POLICY, octets(), octets()),
)
ANY_PAYLOAD = st.one_of(FREE, *SINGLE, V, SIGN)

SRTP_SESSIONS = st.lists(st.builds(SrtpSession, number(1), number(4), number(4)), max_size=3).map(tuple)
GENERIC_SESSIONS = st.lists(
    st.one_of(
        st.builds(
            CryptoSession, number(1), st.integers(1, 255), octets(0, 5).map(tuple), octets(), octets(), st.booleans()
        ),
        st.builds(CryptoSession, number(1), st.just(0), octets(0, 5).map(tuple), octets(4, 4), octets()),
        st.builds(CryptoSession, number(1), st.just(0), st.just(()), octets(10, 10), octets(), st.just(True)),
    ),
    max_size=3,
    unique_by=lambda session: session.cs_id,
).map(tuple)
HEADERS = st.one_of(
    *(
        st.builds(
            Header,
            st.sampled_from(DataType),
            number(4),
            st.sampled_from(Prf),
            st.booleans(),
            st.just(kind),
            sessions,
        )
        for kind, sessions in (
            (MapType.SRTP_ID, SRTP_SESSIONS),
            (MapType.EMPTY, st.just(())),
            (MapType.GENERIC_ID, GENERIC_SESSIONS),
        )
    )
)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    header = draw(HEADERS)
    payloads = draw(st.lists(FREE, max_size=4))
    for strategy in SINGLE:
        if draw(st.booleans()):
            payloads.append(draw(strategy))
    payloads = draw(st.permutations(payloads))
    if header.map_type is MapType.EMPTY:
        payloads = [payload for payload in payloads if not isinstance(payload, p.Sp)]
    last = draw(st.sampled_from([None, V, SIGN]))
    return Message(header, (*payloads, *([draw(last)] if last is not None else [])))
