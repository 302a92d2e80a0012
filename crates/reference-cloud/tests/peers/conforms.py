"""Runs schemathesis over openapi.yaml against a real cloud. Standard input: {"url", "token", "gateway", "document",
"examples", "seed"}. The exit code is schemathesis's own."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import requests
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from signing import Signer, base64url, public_key

HERE = Path(__file__).parent
SIGNED = {"Content-Digest", "Signature-Input", "Signature"}
# Who isn't signed is refused: tested where requests are wrong on purpose. Here every request is signed.
EXCLUDED = "ignored_auth,missing_required_header"


def enrolled(told) -> Ed25519PrivateKey:
    key = Ed25519PrivateKey.from_private_bytes(bytes([5] * 32))
    body = {"token": told["token"], "gateway": told["gateway"], "public_key": base64url(public_key(key))}
    answer = requests.post(f"{told['url']}/v1/enrol", json=body, auth=Signer(key, told["gateway"]), timeout=30)
    answer.raise_for_status()
    return key


def without_signature(document):
    """The signer makes these headers, so they aren't for schemathesis to invent."""
    parameters = document["components"]["parameters"]
    made = {f"#/components/parameters/{name}" for name, p in parameters.items() if p["name"] in SIGNED}
    for path in document["paths"].values():
        for call in path.values():
            if isinstance(call, dict):
                own = call.get("parameters", [])
                call["parameters"] = [p for p in own if p.get("$ref") not in made]
    for name in [name for name, p in parameters.items() if p["name"] in SIGNED]:
        del parameters[name]
    del document["security"]
    return document


def main():
    told = json.load(sys.stdin)
    enrolled(told)
    document = without_signature(yaml.safe_load(Path(told["document"]).read_text()))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "openapi.json"
        copy.write_text(json.dumps(document))
        config = Path(folder) / "schemathesis.toml"
        config.write_text('hooks = "schemathesis_hooks"\n')
        program = Path(sys.executable).with_name("schemathesis")
        command = [
            program, "--config-file", config, "run", copy,
            "--url", told["url"],
            "--checks", "all",
            "--exclude-checks", EXCLUDED,
            "--phases", "examples,coverage,fuzzing",
            "--max-examples", str(told["examples"]),
            "--seed", str(told["seed"]),
            "--generation-database", "none",
            "--request-timeout", "30",
            "--continue-on-failure",
            "--warnings", "off",
            "--no-color",
        ]
        environment = os.environ | {"PYTHONPATH": str(HERE), "LINLI_GATEWAY": told["gateway"], "NO_COLOR": "1"}
        run = subprocess.run(command, cwd=folder, env=environment, check=False)
        sys.exit(run.returncode)


if __name__ == "__main__":
    main()
