"""Runs blocks through Ethereum's executable specification: one JSON object a line in, one a line out.

A line holds what the specification's transition tool takes (`fork`, `env`, `alloc`, `txs` as RLP) and may hold `ommers`
(`number`, `coinbase`), which the tool itself cannot pass on. The answer is the tool's result with the whole state
after the block where `wants_alloc` says so, or `{"crash": ...}` where the specification has no answer. One process
serves any number of blocks, since starting one takes longer than a block.
"""

import json
import logging
import sys
import tempfile
from argparse import Namespace
from io import StringIO
from types import SimpleNamespace

from ethereum_spec_tools.evm_tools.t8n import T8N, ForkCache
from ethereum_spec_tools.forks import Hardfork
from ethereum_types.numeric import Uint

# Looking through the package for its forks takes longer than a block, and the answer does not change.
FORKS = Hardfork.discover()
Hardfork.discover = classmethod(lambda cls, *arguments, **named: FORKS)


def options(fork, folder):
    return Namespace(
        input_alloc="stdin",
        input_env="stdin",
        input_txs="stdin",
        blob_parameters=None,
        output_alloc=None,
        output_basedir=folder,
        output_body=None,
        output_result=None,
        state_chainid=1,
        state_fork=fork,
        state_reward=None,
        trace=False,
        opcode_count=None,
        state_test=False,
    )


def answer(block, folder, cache):
    given = StringIO(json.dumps({name: block[name] for name in ("env", "alloc", "txs")}))
    tool = T8N(options(block["fork"], folder), StringIO(), given, cache)
    tool.env.ommers = [
        SimpleNamespace(number=Uint(ommer["number"]), coinbase=tool.fork.hex_to_address(ommer["coinbase"]))
        for ommer in block.get("ommers", [])
    ]
    tool.run_blockchain_test()
    result = tool.result.to_json()
    if block.get("wants_alloc"):
        result["alloc"] = tool.alloc.to_json()
    return result


def main():
    logging.disable(logging.CRITICAL)
    sys.setrecursionlimit(20_000)
    with tempfile.TemporaryDirectory() as folder, ForkCache() as cache:
        for line in sys.stdin:
            try:
                result = answer(json.loads(line), folder, cache)
            except (Exception, SystemExit) as error:
                result = {"crash": f"{type(error).__name__}: {error}"}
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
