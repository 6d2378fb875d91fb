"""Where a credential of the environment may go (first form; see `allowed`)."""

from __future__ import annotations
