"""Far ends for the lab edge: a plain RTP phone in the core network, or another UE at an edge."""

from __future__ import annotations

from array import array
from typing import Final

from ueagent.lab.dialer import Dialer
from ueagent.lab.edge import Edge
from ueagent.lab.faults import Fault
from ueagent.lab.phone import Phone
from ueagent.lab.registrar import RegisterRequest, RegisterResponse

EARLY_PACKETS: Final = 10  # media before a late answer
NEAR_WRAP: Final = 0xFFE0  # where the phone begins when the gateway shall lose count after the wrap
_EARLY_INTERVAL: Final = 0.005  # seconds


class PhoneNetwork:
    """UE -- edge -- phone: the phone in the core answers and rings. Keeps the last call's name at the edge."""

    def __init__(self, edge: Edge, phone: Phone) -> None:
        self.edge = edge
        self.phone = phone
        self.call: str | None = None
        if edge.config.fault is Fault.ROC_RESET:
            phone.next_sequence = NEAR_WRAP

    def register(self, request: RegisterRequest) -> RegisterResponse:
        return self.edge.register(request)

    async def invite(self, binding: str, offer: bytes, security_verify: tuple[str, ...] = ()) -> bytes:
        """The UE calls (or re-offers). A late answer (EDGE-17) comes after the phone's first packets."""
        call, core_offer = await self.edge.offer_from_ue(
            binding, offer, call=self.call, security_verify=security_verify
        )
        try:
            answer = self.edge.answer_to_ue(call, self.phone.answer(core_offer))
        except BaseException:
            self.edge.offer_refused(call)
            raise
        self.call = call
        if self.edge.config.fault is Fault.LATE_ANSWER:
            await self.phone.play(array("h", bytes(2 * 160 * EARLY_PACKETS)), _EARLY_INTERVAL)
        return answer

    async def ring(self, binding: str, *, rekey: bool = False) -> bytes:
        """The phone calls the UE (or re-offers): the offer for the UE."""
        self.call, offer = await self.edge.offer_to_ue(binding, self.phone.offer(), call=self.call, rekey=rekey)
        return offer

    def answered(self, answer: bytes) -> bytes:
        """The UE's answer to `ring`; returns it as the core sees it."""
        assert self.call is not None, "ring() comes first"
        core_answer = self.edge.answer_from_ue(self.call, answer)
        self.phone.connect(core_answer)
        return core_answer

    def hang_up(self) -> None:
        if self.call is not None:
            self.edge.release(self.call)
        self.phone.close()


class PeerNetwork:
    """UE -- edge -- edge -- UE: the callee's dialer answers. Both edges may be one."""

    def __init__(self, caller_edge: Edge, callee_edge: Edge, callee: Dialer) -> None:
        self._here = caller_edge
        self._there = callee_edge
        self._callee = callee
        self.calls: tuple[str, str] | None = None

    def register(self, request: RegisterRequest) -> RegisterResponse:
        return self._here.register(request)

    async def invite(self, binding: str, offer: bytes, security_verify: tuple[str, ...] = ()) -> bytes:
        mine, core_offer = await self._here.offer_from_ue(binding, offer, security_verify=security_verify)
        try:
            theirs, their_offer = await self._there.offer_to_ue(self._callee.binding, core_offer)
            self.calls = mine, theirs
            core_answer = self._there.answer_from_ue(theirs, await self._callee.take(their_offer))
            return self._here.answer_to_ue(mine, core_answer)
        except BaseException:
            self._here.release(mine)
            self.hang_up()
            raise

    def hang_up(self) -> None:
        if self.calls is not None:
            self._here.release(self.calls[0])
            self._there.release(self.calls[1])
