"""What `stuck` and its handler agree on."""

from __future__ import annotations

import struct
from typing import Final

#: The order that has all the trouble; its own effects are not noted.
TROUBLED: Final = "order-0"
#: A header: `stuck:` or `failing:`, and until when (Unix µs).
TROUBLE: Final = "x-trouble"
#: Of every other order's event: produced, and taken effect (Unix µs).
NOTE: Final = struct.Struct("<QQ")
EFFECTS_FILE: Final = "effects"
