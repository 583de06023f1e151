"""TLS and mutual TLS on both kinds of link, with kept connections and one a dialogue."""

import asyncio
import datetime
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from house import House
from net_ground import until

from switch.app.config import ConfigError, TlsConfig, dialling_tls, listening_tls
from switch.clearing.schema import SWITCH_TABLES
from switch.net.disk import Disk
from switch.net.listen import Patience, Secured, dial, listen
from switch.net.perform import Performer
from switch.wire.profile import framing_of
from switch.wire.tls import TlsError, client_context, server_context
from terminals.device import pos
from terminals.drive import aio, blocking
from terminals.flow import Ask


@dataclass(frozen=True)
class Party:
    """Certificate and key files of one party."""

    cert: Path
    key: Path


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def issue(directory: Path, name: str, by: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None) -> tuple:
    """A certificate for 127.0.0.1, self-signed as an authority or signed `by` one; files named after `name`."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(by[0].subject if by else _name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    )
    if by:
        import ipaddress

        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        builder = builder.add_extension(names, critical=False)
    certificate = builder.sign(by[1] if by else key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    cert_file, key_file = directory / f"{name}.pem", directory / f"{name}.key"
    cert_file.write_bytes(certificate.public_bytes(pem))
    key_file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return certificate, key, Party(cert_file, key_file)


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Party]:
    directory = tmp_path_factory.mktemp("tls")
    authority = issue(directory, "authority")
    stranger = issue(directory, "stranger")
    found = {"authority": authority[2], "stranger": stranger[2]}
    for name in ("switch", "terminal"):
        found[name] = issue(directory, name, authority[:2])[2]
    found["impostor"] = issue(directory, "impostor", stranger[:2])[2]
    return found


class Counter:
    """A machine that answers every frame with its own body, and counts its links."""

    def __init__(self) -> None:
        self.links = 0

    def receive(self, link, frame, now, out):  # type: ignore[no-untyped-def]
        from switch.machine import Send

        out.append(Send(link, frame.body, frame.header, frame.tpdu))

    def receive_bad(self, link, error, now, out):  # type: ignore[no-untyped-def]
        pass

    def tick(self, now, out):  # type: ignore[no-untyped-def]
        pass

    def link_up(self, link, now, out):  # type: ignore[no-untyped-def]
        self.links += 1

    def link_down(self, link, now, out):  # type: ignore[no-untyped-def]
        self.links -= 1


class Bridge(Counter):
    """The house's engine with its answers brought back over the socket."""

    def __init__(self, house: House) -> None:
        super().__init__()
        self.house = house

    def receive(self, link, frame, now, out):  # type: ignore[no-untyped-def]
        from switch.machine import Send

        reply = self.house.ask(frame.body)
        if reply is not None:
            out.append(Send(link, reply, frame.header, frame.tpdu))


def holder(asked: Ask) -> str:
    return str(asked.about.pin)


def scene(tmp_path: Path, server: ssl.SSLContext, act: Callable[[House, int], object]) -> object:
    """Serve the house over TLS on uvloop while `act` runs in a thread, or as a coroutine."""

    async def main() -> object:
        house = House(terminals=2)
        disk = Disk(tmp_path / "j.db", SWITCH_TABLES)
        performer = Performer(Bridge(house), disk, asyncio.get_running_loop(), print)
        listener = await listen(performer, "127.0.0.1", 0, house.line.framing, 5.0, tls=server)
        port = listener.sockets[0].getsockname()[1]
        try:
            result = act(house, port)
            if asyncio.iscoroutine(result):
                return await asyncio.wait_for(result, 20)
            return await asyncio.wait_for(asyncio.to_thread(result), 20)  # type: ignore[arg-type]
        finally:
            listener.close()
            performer.close_all()
            await asyncio.sleep(0.05)
            disk.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


@pytest.mark.parametrize("mutual", [False, True])
@pytest.mark.parametrize("kept", [True, False])
def test_a_terminal_pays_over_tls(tmp_path: Path, parties: dict[str, Party], mutual: bool, kept: bool) -> None:
    ca = parties["authority"].cert
    server = server_context(parties["switch"].cert, parties["switch"].key, ca if mutual else None)
    client = client_context(ca, *((parties["terminal"].cert, parties["terminal"].key) if mutual else ()))

    async def pay(house: House, port: int) -> int:
        memory = house.memories[0]
        session = aio.Session(house.line, "127.0.0.1", port, kept=kept, tls=client)
        for n in (1, 2):
            outcome = await session.run(pos.sale(memory, house.line, house.card(0), 100 * n), holder)
            assert outcome.approved, outcome
        session.close()
        assert house.books().agreed
        return session.connects

    assert scene(tmp_path, server, pay) == (1 if kept else 2)


def test_the_blocking_driver_speaks_tls(tmp_path: Path, parties: dict[str, Party]) -> None:
    server = server_context(parties["switch"].cert, parties["switch"].key)
    client = client_context(parties["authority"].cert)

    def make(house: House, port: int) -> object:
        def pay() -> object:
            session = blocking.Session(house.line, "127.0.0.1", port, tls=client)
            outcome = session.run(pos.sale(house.memories[0], house.line, house.card(1), 100), holder)
            session.close()
            return outcome.approved

        return pay

    assert scene(tmp_path, server, make) is True


@pytest.mark.parametrize(
    ("believed", "shown"), [("stranger", None), ("authority", None), ("authority", "impostor")],
    ids=["the switch is a stranger", "no certificate", "another authority's certificate"],
)  # fmt: skip
def test_who_cannot_prove_themselves_gets_no_answer(
    tmp_path: Path, parties: dict[str, Party], believed: str, shown: str | None
) -> None:
    server = server_context(parties["switch"].cert, parties["switch"].key, parties["authority"].cert)
    client = client_context(parties[believed].cert, *((parties[shown].cert, parties[shown].key) if shown else ()))

    async def pay(house: House, port: int) -> object:
        session = aio.Session(house.line, "127.0.0.1", port, tls=client)
        outcome = await session.run(pos.sale(house.memories[0], house.line, house.card(0), 100), holder)
        session.close()
        assert not house.of("journal")
        return outcome.state, outcome.reason

    assert scene(tmp_path, server, pay) == ("unsent", "sign_in")


def test_a_line_to_a_counterpart_is_dialled_over_mutual_tls(tmp_path: Path, parties: dict[str, Party]) -> None:
    ca = parties["authority"].cert
    server = server_context(parties["switch"].cert, parties["switch"].key, ca)
    context = client_context(ca, parties["terminal"].cert, parties["terminal"].key)

    async def main() -> None:
        house, loop = House(terminals=1), asyncio.get_running_loop()
        framing = framing_of(house.engine.office.counterparts["cups"].profile)
        disks = [Disk(tmp_path / name, SWITCH_TABLES) for name in ("far.db", "near.db")]
        far, near = (Performer(Counter(), disk, loop, print) for disk in disks)
        listener = await listen(far, "127.0.0.1", 0, framing, 5.0, name="cups", tls=server)
        port = listener.sockets[0].getsockname()[1]
        line = loop.create_task(
            dial(near, "127.0.0.1", port, framing, "cups", Patience(5.0, 0.05), Secured(context, "127.0.0.1"))
        )
        await until(lambda: far.machine.links == 1 and near.machine.links == 1)
        line.cancel()
        listener.close()
        near.close_all()
        far.close_all()
        await asyncio.sleep(0.05)
        for disk in disks:
            disk.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_files_at_fault_are_named(tmp_path: Path, parties: dict[str, Party]) -> None:
    nothing = tmp_path / "nothing.pem"
    text = tmp_path / "text.pem"
    text.write_text("not PEM")
    with pytest.raises(TlsError, match=r"nothing\.pem: No such file"):
        client_context(nothing)
    with pytest.raises(TlsError, match=r"text\.pem: no certificate authority"):
        client_context(text)
    with pytest.raises(TlsError, match=r"switch\.pem: no certificate with its key"):
        server_context(parties["switch"].cert, parties["terminal"].key)
    with pytest.raises(ConfigError, match="a listener needs cert and key"):
        listening_tls(TlsConfig(ca=nothing))
    with pytest.raises(ConfigError, match=r"tls: .*nothing\.pem"):
        dialling_tls(TlsConfig(ca=nothing))
    assert listening_tls(None) is dialling_tls(None) is None
