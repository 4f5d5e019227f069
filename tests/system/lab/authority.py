"""A certification authority of one's own, and clients that show what it signed."""
import ssl
import subprocess

from .client import Client

NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Authority:
    def __init__(self, folder, name="ca"):
        self.folder, self.name = folder, name
        self.file, self.key = folder / f"{name}.pem", folder / f"{name}.key"
        openssl("req", "-x509", *NEW_KEY, "-days", "30", "-subj", f"/CN=The {name} authority", "-keyout", self.key, "-out", self.file)

    def issue(self, *names, days=30, common="somebody", usage=None):
        """A file with certificate and key. Without names there is only the common name; days < 0: expired."""
        path = self.folder / f"{self.name}-{len(list(self.folder.iterdir()))}.pem"
        request, key, extensions, certificate = (path.with_suffix(s) for s in (".csr", ".pkey", ".ext", ".crt"))
        lines = ["basicConstraints = CA:FALSE"]
        if names:
            lines.append("subjectAltName = " + ", ".join(f"DNS:{n}" for n in names))
        if usage:
            lines.append(f"extendedKeyUsage = {usage}")
        extensions.write_text("\n".join(lines) + "\n")
        openssl("req", "-new", *NEW_KEY, "-subj", f"/CN={common}", "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.key, "-days", days, "-extfile", extensions, "-out", certificate)
        path.write_bytes(certificate.read_bytes() + key.read_bytes())
        return path


def self_signed(folder, name):
    path, key = folder / f"self-{name}.pem", folder / f"self-{name}.pkey"
    openssl("req", "-x509", *NEW_KEY, "-days", "30", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", path)
    path.write_bytes(path.read_bytes() + key.read_bytes())
    return path


class CertifiedClient(Client):
    """Shows the certificate when it is asked for one. `version`: the only TLS version it speaks."""

    def __init__(self, *arguments, shows=None, version=None, **how):
        self.shows, self.version = shows, version
        super().__init__(*arguments, **how)

    def wrap(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if self.shows:
            context.load_cert_chain(self.shows)
        if self.version:
            context.minimum_version = context.maximum_version = self.version
        self.socket = context.wrap_socket(self.socket)
