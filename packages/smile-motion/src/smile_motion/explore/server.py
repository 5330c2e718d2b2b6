"""Serve the explorer's page to this machine alone."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from smile_motion.errors import InputError
from smile_motion.explore.state import Controls, ExplorerInputs, UploadLimits, make_shown

if TYPE_CHECKING:
    from smile_motion.bank import ObjectBank

ADDRESS = "127.0.0.1"
"""Address that the server listens on."""


def serve(
    bank: ObjectBank,
    sources: ExplorerInputs,
    limits: UploadLimits,
    *,
    port: int,
    on_ready: Callable[[str], None],
) -> None:
    """Serve the page until the process is interrupted, then delete uploads.

    Args:
        bank: Objects of the clips.
        sources: Videos and photographs of the backgrounds.
        limits: Limits of uploaded videos.
        port: Port to listen on; 0 takes a free one.
        on_ready: Called with the page's URL once the server listens.

    Raises:
        InputError: The port is in use.
    """
    listener = _listen(port)
    with listener, tempfile.TemporaryDirectory(prefix="smile-motion-explore-") as folder:
        # Gradio reads these on import, the folder of uploads on every use.
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ["GRADIO_TEMP_DIR"] = folder
        os.environ["HF_HUB_OFFLINE"] = "1"
        # Compiles and loads what the first change would wait for.
        make_shown(Controls(), sources, bank, limits)
        _run(bank, sources, replace(limits, folder=Path(folder)), listener, on_ready)


def _run(
    bank: ObjectBank,
    sources: ExplorerInputs,
    limits: UploadLimits,
    listener: socket.socket,
    on_ready: Callable[[str], None],
) -> None:
    import gradio
    import uvicorn
    from fastapi import FastAPI

    from smile_motion.explore.app import CSS, build_page, make_theme
    from smile_motion.explore.guard import Guard

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gradio.mount_gradio_app(
        app,
        build_page(bank, sources, limits),
        path="/",
        server_name=ADDRESS,
        server_port=listener.getsockname()[1],
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=limits.bytes,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        theme=make_theme(),
        css=CSS,
    )
    assert limits.folder is not None
    guard = Guard(app, folder=limits.folder, largest_upload=limits.bytes)
    config = uvicorn.Config(guard, log_level="warning", timeout_graceful_shutdown=1)

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            on_ready(f"http://{ADDRESS}:{listener.getsockname()[1]}/")

    Announced(config).run(sockets=[listener])


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((ADDRESS, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise InputError(
            f"--port {port}: cannot be listened on ({error}); give another, or 0 for any"
        ) from error
    listener.listen()
    return listener
