"""Whether the service lives and works."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse

router = APIRouter(tags=["health"])


@router.get("/health/live")
async def live() -> JSONResponse:
    """Say that the gateway's process answers."""
    return JSONResponse({"status": "live"})
