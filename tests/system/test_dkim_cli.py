"""sluice dkim: keys and their records, made without a daemon, judged by OpenSSL, dkimpy, OpenDKIM and a real DNS server."""
import base64
import datetime
import json
import os
import pwd
import re
import shutil
import stat
import subprocess
import textwrap

import dkim
import dns.rdata
import pytest

from lab import peers, places
from lab.client import message
from lab.waiting import until
from lab.daemon import Daemon

DOMAIN = "contoso.test"
USER = "mail"
NO_LEAK_CHECK = {"ASAN_OPTIONS": "detect_leaks=0:exitcode=99:detect_stack_use_after_return=0"}


def config(dkim='dkim "contoso.test" { selector = "s1"  key = "keys/contoso.test.s1.pem" }', dns='zone-file = "zone"', extra=""):
    pools = "".join(f'pool "{n}" {{ addresses = {{"{a}"}} }}\n'
                    for n, a in [("normal", "127.0.1.16"), ("high-risk", "127.0.1.32"), ("relay", "127.0.1.48"), ("high-risk-relay", "127.0.1.64")])
    return f"""node = "mta01.sluice.test"
state = "state"
{pools}tenant "contoso" {{ domains = {{"{DOMAIN}"}}
{dkim} }}
dns {{ {dns} }}
{extra}
"""


def offline(folder, **how):
    """A configuration and the command line; no daemon runs."""
    return Daemon(folder, config(**how), {"zone": ""})


def both(daemon):
    """An RSA and an Ed25519 key, both configured."""
    daemon.cli("dkim", "keygen", DOMAIN, "--selector", "s1")
    daemon.cli("dkim", "keygen", DOMAIN, "--selector", "e1", "--algorithm", "ed25519")
    daemon.write(config(dkim='dkim "contoso.test" { selector = "s1"  key = "keys/contoso.test.s1.pem"  ed25519-selector = "e1"  '
                             'ed25519-key = "keys/contoso.test.e1.pem" }'))


def strings(row):
    """The octets of each string of a record's data, as DNS carries them."""
    return dns.rdata.from_text("IN", "TXT", row["data"]).strings


def publish(daemon, *changes, without=()):
    """Puts the records into the zone file, one edited by `changes` (old, new)."""
    text = daemon.cli("dkim", "record")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (daemon.folder / "zone").write_text("".join(line for line in text.splitlines(True) if not line.startswith(tuple(without))))


def states(daemon, *words):
    return {r["selector"]: (r["status"], r["fault"]) for r in daemon.rows("dkim", "check", *words)}


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


# ---- keygen


@pytest.mark.parametrize("algorithm, bits", [("rsa", None), ("rsa", 1024), ("rsa", 4096), ("ed25519", None)])
def test_a_key_that_openssl_reads(folder, algorithm, bits):
    daemon = offline(folder)  # its configuration names a key that is not there yet: keygen makes it
    row, = daemon.rows("dkim", "keygen", DOMAIN, "--selector", "S1", "--algorithm", algorithm, *(["--bits", str(bits)] if bits else []))
    path = folder / "state/keys/contoso.test.s1.pem"
    assert (row["key"], row["selector"], row["name"], row["type"]) == (str(path), "s1", "s1._domainkey.contoso.test.", "TXT")
    assert mode(path) == 0o600 and mode(path.parent) == 0o700
    assert all(len(s) <= 255 for s in strings(row))
    public = subprocess.run(["openssl", "pkey", "-in", path, "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout
    tags = dict(t.strip().split("=", 1) for t in b"".join(strings(row)).decode().split(";"))
    assert tags["v"] == "DKIM1" and tags["k"] == algorithm
    assert base64.b64decode(tags["p"], validate=True) == (public if algorithm == "rsa" else public[-32:])
    said = subprocess.run(["openssl", "pkey", "-in", path, "-noout", "-text"], check=True, capture_output=True, text=True).stdout
    assert (f"{bits or 2048} bit" if algorithm == "rsa" else "ED25519") in said
    assert daemon.run("check").returncode == 0  # and the configuration is good now


def test_what_keygen_prints_can_be_pasted(folder):
    daemon = offline(folder, dkim="")
    text = daemon.cli("dkim", "keygen", DOMAIN)
    section = re.search(r"^  (dkim .*})$", text, re.M)[1]
    today = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d")
    assert f'selector = "{today}"' in section
    daemon.write(config(dkim=section), {"zone": re.search(r"^\S+\._domainkey\..*$", text, re.M)[0] + "\n"})
    assert states(daemon) == {today: ("ok", False)}
    again, = daemon.rows("dkim", "keygen", DOMAIN)
    assert again["selector"] == f"{today}-2"  # the date is taken


def test_a_key_is_never_written_over(folder):
    daemon = offline(folder)
    daemon.cli("dkim", "keygen", DOMAIN, "--selector", "s1")
    path = folder / "state/keys/contoso.test.s1.pem"
    before = path.read_bytes()
    ran = daemon.run("dkim", "keygen", DOMAIN, "--selector", "s1")
    assert ran.returncode == 1 and "never written over" in ran.stderr and path.read_bytes() == before
    (folder / "state/keys/contoso.test.link.pem").symlink_to(folder / "elsewhere")
    assert daemon.run("dkim", "keygen", DOMAIN, "--selector", "link").returncode == 1
    assert not (folder / "elsewhere").exists()


@pytest.mark.parametrize("words, says", [
    (["keygen"], "usage: sluice dkim keygen"),
    (["keygen", "a..b"], "a..b: no domain"),
    (["keygen", "[192.0.2.1]"], "no domain"),
    (["keygen", DOMAIN, "--selector", "../x"], "--selector ../x"),
    (["keygen", DOMAIN, "--selector", "a_b"], "--selector a_b"),
    (["keygen", DOMAIN, "--algorithm", "dsa"], "rsa or ed25519"),
    (["keygen", DOMAIN, "--bits", "512"], "1024 to 4096"),
    (["keygen", DOMAIN, "--bits", "16384"], "1024 to 4096"),
    (["keygen", DOMAIN, "--algorithm", "ed25519", "--bits", "2048"], "--bits is of RSA"),
    (["keygen", DOMAIN, "--finish"], "takes no --finish"),
    (["record", "--bits", "2048"], "takes no --bits"),
    (["record", DOMAIN, "more"], "unexpected word: more"),
    (["rotate"], "usage: sluice dkim rotate"),
    (["rotate", DOMAIN, "--status", "--cancel"], "usage: sluice dkim rotate"),
    (["rotat", DOMAIN], "did you mean 'rotate'?"),
    ([], "usage: sluice dkim"),
])
def test_usage(folder, words, says):
    daemon = offline(folder)
    ran = daemon.run("dkim", *words)
    assert ran.returncode == 2 and says in ran.stderr, ran
    assert not (folder / "state/keys").exists()


def test_made_as_root_it_belongs_to_the_user(in_namespace):
    in_namespace(made_as_root)


def made_as_root(folder):
    folder.chmod(0o755)
    os.environ["SLUICE_BUILD"] = str(programs(folder))
    daemon = offline(folder, extra=f'user = "{USER}"')
    daemon.environment.update(NO_LEAK_CHECK)
    daemon.cli("dkim", "keygen", DOMAIN, "--selector", "s1")
    daemon.cli("dkim", "rotate", DOMAIN)
    owner = pwd.getpwnam(USER).pw_uid
    made = [folder / "state", *(folder / "state").rglob("*")]
    assert len(made) == 5 and [p for p in made if p.stat().st_uid != owner] == []
    assert [mode(p) for p in made if p.suffix in (".pem", ".rotation")] == [0o600] * 3
    # The packaged unit needs no `user`: then it is who owns `state`.
    shutil.rmtree(folder / "state/keys")
    daemon.write(config())
    daemon.cli("dkim", "keygen", DOMAIN, "--selector", "s1")
    assert {p.stat().st_uid for p in (folder / "state").rglob("*")} == {owner}
    # A folder of keys that is a way elsewhere is not followed by root.
    shutil.rmtree(folder / "state/keys")
    (folder / "elsewhere").mkdir(mode=0o700)
    (folder / "state/keys").symlink_to(folder / "elsewhere")
    ran = daemon.run("dkim", "keygen", DOMAIN, "--selector", "s1")
    assert ran.returncode == 1 and list((folder / "elsewhere").iterdir()) == [], ran


def programs(folder):
    """Copies that the user can reach."""
    (folder / "build/src/cmd").mkdir(parents=True)
    for name in ("sluiced", "sluice"):
        shutil.copy(places.program(name), folder / "build/src/cmd")
    return folder / "build"


# ---- record


def test_records_verify_what_the_keys_sign(folder):
    daemon = offline(folder)
    both(daemon)
    rows = daemon.rows("dkim", "record")
    assert [(r["name"], r["type"], r["ttl"]) for r in rows] == [(f"{s}._domainkey.contoso.test.", "TXT", 3600) for s in ("s1", "e1")]
    live = {r["name"].encode(): b"".join(strings(r)) for r in rows}
    text = b"From: alice@contoso.test\r\nTo: bob@fabrikam.test\r\nSubject: hello\r\n\r\nbody\r\n"
    rsa = dkim.sign(text, b"s1", DOMAIN.encode(), (folder / "state/keys/contoso.test.s1.pem").read_bytes())
    assert dkim.verify(rsa + text, dnsfunc=lambda name, timeout=5: live.get(name if name.endswith(b".") else name + b"."))
    table = daemon.cli("dkim", "record", DOMAIN)
    assert [line.split()[0] for line in table.splitlines() if line[0] != ";"] == [r["name"] for r in rows]
    assert daemon.rows("dkim", "record", DOMAIN) == rows
    assert "name,type,ttl,data" in daemon.cli("dkim", "record", "--csv")


def test_nothing_to_print(folder):
    daemon = offline(folder, dkim="")
    for words in (["record"], ["check"]):
        ran = daemon.run("dkim", *words)
        assert ran.returncode == 1 and "has a dkim section" in ran.stderr
    ran = daemon.run("dkim", "record", "fabrikam.test")
    assert ran.returncode == 1 and 'no tenant has a dkim "fabrikam.test"' in ran.stderr


# ---- check


def test_what_is_live(folder):
    daemon = offline(folder)
    both(daemon)
    ed25519 = re.search(r"k=ed25519; p=(\S+)\"", daemon.cli("dkim", "record"))[1]
    good = ("ok", False)
    for change, expected, what in [
        ([], {"s1": good, "e1": good}, None),
        ([("k=ed25519", "t=y; k=ed25519")], {"s1": good, "e1": good}, "t=y"),
        ([(ed25519, "A" * 43 + "=")], {"s1": good, "e1": ("differs", True)}, "p= is another key"),
        ([(f"k=ed25519; p={ed25519}", "k=ed25519; p=")], {"s1": good, "e1": ("revoked", True)}, "withdrawn"),
        ([("v=DKIM1; k=ed25519", "v=DKIM2; k=ed25519")], {"s1": good, "e1": ("differs", True)}, "not DKIM1"),
        ([("k=ed25519;", "k=ed25519; h=sha1;")], {"s1": good, "e1": ("differs", True)}, "h= leaves sha256 out"),
        ([("k=ed25519;", "k=ed25519; s=tlsrpt;")], {"s1": good, "e1": ("differs", True)}, "s= leaves email out"),
        ([("e1._domainkey", "e2._domainkey")], {"s1": good, "e1": ("missing", True)}, "no such name"),
        ([("s1._domainkey", "e1._domainkey")], {"s1": ("missing", True), "e1": ("differs", True)}, "2 TXT records"),
    ]:
        publish(daemon, *change)
        assert states(daemon) == expected, change
        ran = daemon.run("dkim", "check", DOMAIN)
        assert ran.returncode == (0 if all(v == good for v in expected.values()) else 1), ran
        assert (what or "ok") in ran.stdout, ran.stdout


def test_a_dead_dns_is_no_missing_record(folder):
    port = places.free_port()
    daemon = offline(folder)
    daemon.cli("dkim", "keygen", DOMAIN, "--selector", "s1")
    daemon.write(config(dns=f'servers = {{"127.0.0.1@{port}"}}  timeout = 1s'))
    assert states(daemon) == {"s1": ("DNS failed", True)}
    assert daemon.run("dkim", "check").returncode == 3


def test_real_dns_and_opendkim(in_namespace):
    in_namespace(real_dns)


def real_dns(folder):
    daemon = offline(folder, dns='servers = {"127.0.0.53@53"}  timeout = 5s')
    daemon.cli("dkim", "keygen", DOMAIN, "--selector", "s1", "--bits", "4096")
    zone = "".join(f"{r['name']} {r['ttl']} IN {r['type']} {r['data']}\n" for r in daemon.rows("dkim", "record"))
    (folder / "unbound.conf").write_text(textwrap.dedent("""\
        server:
          do-not-query-localhost: no
          local-zone: "test." nodefault
          module-config: "iterator"
        stub-zone:
          name: "contoso.test"
          stub-addr: 127.0.0.53
        """))
    (folder / "opendkim.conf").write_text(f"ResolverConfiguration {folder}/unbound.conf\n")
    peers.Knot(folder / "knot", "127.0.0.53", {DOMAIN: zone}).start()
    assert states(daemon) == {"s1": ("ok", False)}
    words = ["opendkim-testkey", "-x", folder / "opendkim.conf", "-d", DOMAIN, "-s", "s1", "-vvv", "-k"]
    judged = subprocess.run([*words, folder / "state/keys/contoso.test.s1.pem"], capture_output=True, text=True, timeout=60)
    assert judged.returncode == 0 and "key OK" in judged.stdout, judged
    daemon.cli("dkim", "keygen", DOMAIN, "--selector", "s2")
    judged = subprocess.run([*words, folder / "state/keys/contoso.test.s2.pem"], capture_output=True, text=True, timeout=60)
    assert judged.returncode != 0, judged  # it does look
    daemon.write(config(dkim='dkim "contoso.test" { selector = "s1"  key = "keys/contoso.test.s2.pem" }', dns='servers = {"127.0.0.53@53"}  timeout = 5s'))
    row, = daemon.rows("dkim", "check")
    assert (row["status"], row["what"]) == ("differs", "p= is another key, of 4096 bits")


# ---- rotate


def rotation(daemon):
    return json.loads((daemon.folder / "state/keys/contoso.test.rotation").read_text())


def move(daemon, **days):
    """Moves the times of the rotation on record, in days from now."""
    record, now = rotation(daemon), datetime.datetime.now(datetime.timezone.utc)
    for name, count in days.items():
        record[name] = (now + datetime.timedelta(days=count)).strftime("%Y-%m-%dT%H:%M:%SZ")
    (daemon.folder / "state/keys/contoso.test.rotation").write_text(json.dumps(record))


def refused(daemon, *words):
    ran = daemon.run("dkim", "rotate", DOMAIN, *words)
    assert ran.returncode == 1 and ran.stdout == "", ran
    return ran.stderr


def uses(daemon):
    return {r["selector"]: r["use"].split(",")[0] for r in daemon.rows("dkim", "record")}


def keys(daemon):
    return sorted(p.name.removeprefix("contoso.test.") for p in (daemon.folder / "state/keys").iterdir())


def test_a_rotation_from_begin_to_end(folder):
    daemon = offline(folder)
    both(daemon)
    assert "no rotation is on record" in refused(daemon, "--status")
    assert "no rotation is on record" in refused(daemon, "--cancel")
    assert "no rotation is on record" in refused(daemon, "--finish")
    publish(daemon)

    text = daemon.cli("dkim", "rotate", DOMAIN)
    record = rotation(daemon)
    new, new_e = (k["selector"] for k in record["new"])
    assert (record["domain"], record["configured"], [k["selector"] for k in record["old"]]) == (DOMAIN, ["s1", "e1"], ["s1", "e1"])
    times = [datetime.datetime.fromisoformat(record[n].replace("Z", "+00:00")) for n in ("started", "switch", "keep")]
    assert times[1] - times[0] == times[2] - times[1] == datetime.timedelta(hours=96)
    assert f"{new}._domainkey" in text and f"{new_e}._domainkey" in text and times[1].strftime("%Y-%m-%d %H:%M:%S UTC") in text
    assert mode(folder / f"state/keys/contoso.test.{new}.pem") == mode(folder / "state/keys/contoso.test.rotation") == 0o600
    assert uses(daemon) == {"s1": "signs", "e1": "signs", new: "next", new_e: "next"}
    assert states(daemon) == {"s1": ("ok", False), "e1": ("ok", False), new: ("missing", True), new_e: ("missing", True)}
    assert daemon.run("dkim", "rotate", DOMAIN, "--status").returncode == 1  # not published yet
    publish(daemon)
    assert daemon.run("dkim", "rotate", DOMAIN, "--status").returncode == daemon.run("dkim", "check").returncode == 0
    said = refused(daemon)
    assert "under way already" in said and times[1].strftime("%Y-%m-%d %H:%M:%S UTC") in said
    assert "signs only from" in refused(daemon, "--finish")

    move(daemon, started=-5, switch=-1, keep=3)
    assert uses(daemon) == {new: "signs", new_e: "signs", "s1": "old", "e1": "old"}
    ran = daemon.run("dkim", "check")
    assert ran.returncode == 0 and f'put it into the configuration: dkim "contoso.test" {{ selector = "{new}"' in ran.stdout, ran.stdout
    assert "rotate anew" in refused(daemon, "--cancel") and "keep the record until" in refused(daemon, "--finish")
    assert "has to stay until" in refused(daemon)
    publish(daemon, without=["s1."])
    assert states(daemon)["s1"] == ("missing", True)

    move(daemon, started=-9, switch=-5, keep=-1)
    assert states(daemon)["s1"] == ("missing", False)  # it may go
    text = daemon.cli("dkim", "rotate", DOMAIN, "--finish")
    assert "Remove the record s1._domainkey.contoso.test from DNS" in text
    # The configuration names the old keys still: their files stay, but the new ones sign.
    assert keys(daemon) == sorted([f"{new}.pem", f"{new_e}.pem", "e1.pem", "rotation", "s1.pem"]) and rotation(daemon)["old"] == []
    assert uses(daemon) == {new: "signs", new_e: "signs"}
    section = re.search(r"put it into the configuration: (dkim .*})", refused(daemon, "--finish"))[1]
    daemon.write(config(dkim=section))
    daemon.cli("dkim", "rotate", DOMAIN, "--finish")
    assert "rotation" not in keys(daemon) and uses(daemon) == {new: "signs", new_e: "signs"}


def test_one_rotation_after_another(folder):
    """Also while the configuration names keys of long ago: what signs is what was brought last."""
    daemon = offline(folder)
    daemon.cli("dkim", "keygen", DOMAIN, "--selector", "s1")
    begun = daemon.rows("dkim", "rotate", DOMAIN)[0]
    first = begun["new"][0]["selector"]
    assert [line.split("._domainkey.")[0] for line in begun["publish"]] == [key["selector"] for key in begun["new"]]
    move(daemon, started=-9, switch=-5, keep=-1)
    second = daemon.rows("dkim", "rotate", DOMAIN, "--after", "10d")[0]["new"][0]["selector"]
    assert len({"s1", first, second}) == 3 and uses(daemon) == {first: "signs", second: "next"}
    assert keys(daemon) == sorted(["s1.pem", f"{first}.pem", f"{second}.pem", "rotation"])
    daemon.cli("dkim", "rotate", DOMAIN, "--cancel")
    assert uses(daemon) == {first: "signs"} and f"{second}.pem" not in keys(daemon)
    third = daemon.rows("dkim", "rotate", DOMAIN, "--after", "0")[0]["new"][0]["selector"]
    assert uses(daemon) == {third: "signs", first: "old"}
    move(daemon, started=-9, switch=-5, keep=-1)
    daemon.cli("dkim", "rotate", DOMAIN, "--finish")
    assert keys(daemon) == sorted(["s1.pem", f"{third}.pem", "rotation"])  # the first one was ours, and is gone


def test_a_rotation_taken_back(folder):
    daemon = offline(folder)
    daemon.cli("dkim", "keygen", DOMAIN, "--selector", "s1")
    daemon.cli("dkim", "rotate", DOMAIN)
    daemon.cli("dkim", "rotate", DOMAIN, "--cancel")
    assert keys(daemon) == ["s1.pem"] and uses(daemon) == {"s1": "signs"}


@pytest.mark.parametrize("text, says", [
    ("{", "line 1"), ("{}", "`version` is not 1"), ('{"version": 1, "more": 2}', "`more` is unknown"), ("x" * 70000, "too long"),
])
def test_a_damaged_rotation(folder, text, says):
    daemon = offline(folder)
    daemon.cli("dkim", "keygen", DOMAIN, "--selector", "s1")
    path = folder / "state/keys/contoso.test.rotation"
    path.write_text(text)
    for words in (["check"], ["dkim", "record"], ["dkim", "rotate", DOMAIN]):
        ran = daemon.run(*words)
        assert ran.returncode != 0 and says in ran.stdout + ran.stderr and str(path) in ran.stdout + ran.stderr, ran


@pytest.mark.parametrize("after", ["x", "-1h", "400d", "12"])
def test_a_time_that_is_none(folder, after):
    daemon = offline(folder)
    daemon.cli("dkim", "keygen", DOMAIN, "--selector", "s1")
    ran = daemon.run("dkim", "rotate", DOMAIN, f"--after={after}")
    assert ran.returncode == 2 and keys(daemon) == ["s1.pem"], ran


# ---- the daemon


def test_the_daemon_takes_a_rotation_and_keeps_its_keys(make_world):
    """It is told to reload; a key that has vanished leaves the old configuration in use."""
    world = make_world()
    world.daemon.cli("dkim", "keygen", DOMAIN, "--selector", "s1")
    world.rewrite(tenant='dkim "contoso.test" { selector = "s1"  key = "keys/contoso.test.s1.pem" }')
    world.start("fabrikam.test")
    ran = world.daemon.run("dkim", "rotate", DOMAIN, "--after", "1h")
    assert ran.returncode == 0 and ran.stderr == "", ran
    key = world.folder / "state/keys/contoso.test.s1.pem"
    key.rename(key.with_suffix(".away"))
    ran = world.daemon.run("reload")
    assert ran.returncode == 1 and f"{key} can't be read: No such file or directory" in ran.stderr, ran
    key.with_suffix(".away").rename(key)
    key.chmod(0o644)
    ran = world.daemon.run("reload")
    assert ran.returncode == 1 and "is open to others than its owner (mode 0644): chmod 600 it" in ran.stderr, ran
    key.chmod(0o600)
    assert world.daemon.run("reload").returncode == 0
    assert world.daemon.run("dkim", "rotate", DOMAIN, "--cancel").returncode == 0


def signs_with(world):
    """The selector in the signature of a message that goes out now."""
    with world.connector() as client:
        trace_id = client.send("alice@contoso.test", "bob@fabrikam.test", message("alice@contoso.test", "bob@fabrikam.test"))
    world.daemon.trace_of(trace_id, "Delivered")
    return re.search(r"\bs=([^;]+);", world.receiver.messages[-1].header("DKIM-Signature") or "s=nobody;")[1]


def test_the_switch_waits_for_a_record_that_is_missing(make_world):
    """The daemon goes on with the old key, says so, and goes over when the record is there."""
    world = make_world()
    world.daemon.cli("dkim", "keygen", DOMAIN, "--selector", "s1")
    world.rewrite(tenant='dkim "contoso.test" { selector = "s1"  key = "keys/contoso.test.s1.pem" }')
    world.start("fabrikam.test")
    assert signs_with(world) == "s1"
    new = world.daemon.rows("dkim", "rotate", DOMAIN, "--after", "0")[0]["new"][0]["selector"]
    line = world.daemon.wait_log("ALARM: dkim rotation held")
    assert f"domain=contoso.test selector={new}" in line, line
    assert signs_with(world) == "s1"
    with open(world.folder / "zone", "a", encoding="ascii") as zone:
        zone.write(world.daemon.cli("dkim", "record"))
    assert world.daemon.run("reload").returncode == 0  # a zone file is read anew then
    world.daemon.wait_log("dkim rotation goes on")
    assert signs_with(world) == new
    assert world.daemon.run("dkim", "check").returncode == 0


def test_the_switch_comes_by_the_clock(make_world):
    world = make_world()
    world.daemon.cli("dkim", "keygen", DOMAIN, "--selector", "s1")
    world.rewrite(tenant='dkim "contoso.test" { selector = "s1"  key = "keys/contoso.test.s1.pem" }')
    new = world.daemon.rows("dkim", "rotate", DOMAIN)[0]["new"][0]["selector"]
    with open(world.folder / "zone", "a", encoding="ascii") as zone:
        zone.write(world.daemon.cli("dkim", "record"))
    move(world.daemon, started=-1, switch=4 / 86400, keep=1)
    switch = datetime.datetime.fromisoformat(rotation(world.daemon)["switch"].replace("Z", "+00:00"))
    world.start("fabrikam.test")
    seen = []  # (before it was sent, by which key, after it was delivered)

    def look():
        before = datetime.datetime.now(datetime.timezone.utc)
        seen.append((before, signs_with(world), datetime.datetime.now(datetime.timezone.utc)))
        return seen[-1][1] != "s1"

    until(look, what=lambda: seen)
    assert seen[-1][1] == new and seen[-1][2] >= switch, (seen, switch)  # before it, it was the old one
