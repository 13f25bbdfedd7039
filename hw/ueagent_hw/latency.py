"""What a serial accelerator can do on a line: round trip, and streams within a budget. Arithmetic, no measurement.

G.711 packets of 20 ms: octets on the wire of a job and its answer, frame included, in both directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BITS_PER_OCTET: Final = 10  # 8N1
PACKETS_PER_SECOND: Final = 50
UP: Final = (188, 198)  # protect, unprotect: 4 + 6 + 172 (+ 10) + 4, COBS and delimiter 2
DOWN: Final = (180, 170)  # 4 + 160 + 10 (or 160) + 4, and 2
STATUS: Final = (10, 31)  # octets of a heartbeat and its answer
HOST_SECONDS: Final = 0.0003  # driver and wake-ups of one round trip: assumed; `accel bench` measures it
SOFTWARE_SECONDS: Final = 29_314 * 1.3 / 168e6  # instructions counted; cycles for each and the clock of an M4 assumed
BUDGET: Final = 0.005  # seconds that a packet may take
LOAD: Final = 0.8  # of the line that may be planned for


@dataclass(frozen=True, slots=True)
class Prediction:
    round_trip: float  # seconds: a packet to protect, alone on the line
    guaranteed: int  # streams, all packets of which come at once, within the budget
    statistical: int  # streams that the line carries on average


def predict(
    baud: int, *, compute: float = SOFTWARE_SECONDS, host: float = HOST_SECONDS, budget: float = BUDGET
) -> Prediction:
    """For a line of `baud` and a device that takes `compute` seconds for a job."""
    octet = BITS_PER_OCTET / baud
    round_trip = octet * (UP[0] + DOWN[0]) + compute + host
    line = (budget - compute - host - octet * DOWN[0]) / (octet * sum(UP))
    device = (budget - host - octet * (UP[0] + DOWN[0])) / (2 * compute) if compute else line
    average = LOAD / (octet * PACKETS_PER_SECOND * sum(UP))
    if compute:
        average = min(average, LOAD / (2 * PACKETS_PER_SECOND * compute))
    return Prediction(round_trip, max(0, int(min(line, device))), int(average))
