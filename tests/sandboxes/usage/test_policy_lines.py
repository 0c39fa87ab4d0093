"""Lines of network plugins' logs, as they write them."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.usage.policy_lines import Drop, Passed, Unknown, read

AT = datetime(2026, 11, 23, 9, 15, 2, 123456, UTC)
# As Cilium's agent exports it (`hubble-export-file-path`), with what is of no interest left in.
HUBBLE = (
    '{"flow":{"time":"2026-11-23T09:15:02.123456789Z","uuid":"9c1d4a0b-2f0f-4f6b-9a43-0a3f1c0e5b11",'
    '"verdict":"DROPPED","drop_reason":133,"ethernet":{"source":"9a:3e:12:77:01:c4",'
    '"destination":"2e:55:10:ab:9f:01"},"IP":{"source":"10.0.1.87","destination":"203.0.113.7",'
    '"ipVersion":"IPv4"},"l4":{"TCP":{"source_port":45012,"destination_port":443,"flags":{"SYN":true}}},'
    '"source":{"ID":1732,"identity":38412,"cluster_name":"default","namespace":"sbx-alice-1",'
    '"labels":["k8s:app=workspace","k8s:io.kubernetes.pod.namespace=sbx-alice-1"],"pod_name":"workspace-0",'
    '"workloads":[{"name":"workspace","kind":"StatefulSet"}]},"destination":{"identity":2,'
    '"labels":["reserved:world"]},"Type":"L3_L4","node_name":"default/node-1",'
    '"event_type":{"type":1,"sub_type":133},"traffic_direction":"EGRESS","drop_reason_desc":"POLICY_DENIED",'
    '"Summary":"TCP Flags: SYN"},"node_name":"default/node-1","time":"2026-11-23T09:15:02.123456789Z"}'
)
# As Calico Enterprise writes to its file of flows.
CALICO = (
    '{"start_time":1795425300,"end_time":1795425302,"source_ip":"10.65.2.14","source_name":"workspace-0",'
    '"source_name_aggr":"workspace-*","source_namespace":"sbx-alice-1","nat_outgoing_ports":null,'
    '"source_port":45012,"source_type":"wep","source_labels":{"labels":["app=workspace"]},'
    '"dest_ip":"203.0.113.7","dest_name":"-","dest_name_aggr":"pub","dest_namespace":"-","dest_port":443,'
    '"dest_type":"net","dest_labels":null,"dest_service_namespace":"-","dest_service_name":"-",'
    '"dest_service_port":"-","dest_service_port_num":null,"dest_domains":null,"proto":"tcp","action":"deny",'
    '"reporter":"src","policies":{"all_policies":["0|default|sbx-alice-1/knp.default.deny-all|deny|-1"]},'
    '"bytes_in":0,"bytes_out":60,"num_flows":1,"num_flows_started":1,"num_flows_completed":0,'
    '"packets_in":0,"packets_out":1,"http_requests_allowed_in":0,"http_requests_denied_in":0,"host":"node-1"}'
)
OUT = {"namespace": "sbx-alice-1", "pod": "workspace-0", "address": "203.0.113.7", "port": 443}


def one(text: str) -> Any:
    [found] = read(text)
    return found


def hubble(**changes: Any) -> str:
    record = json.loads(HUBBLE)
    record["flow"].update(changes)
    return json.dumps(record)


def calico(**changes: Any) -> str:
    return json.dumps({**json.loads(CALICO), **changes})


def test_a_flow_of_hubble() -> None:
    assert one(HUBBLE) == Drop(at=AT, host="203.0.113.7", protocol="tcp", **OUT)  # type: ignore[arg-type]


def test_a_flow_of_calico() -> None:
    at = datetime.fromtimestamp(1795425302, UTC)
    assert one(CALICO) == Drop(at=at, host="203.0.113.7", protocol="tcp", **OUT)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "host", "port", "protocol"),
    [
        (hubble(destination_names=["evil.example"]), "evil.example", 443, "tcp"),
        (hubble(destination={"namespace": "prod", "pod_name": "db-0"}), "prod/db-0", 443, "tcp"),
        (hubble(l4={"UDP": {"source_port": 1, "destination_port": 53}}), "203.0.113.7", 53, "udp"),
        (hubble(l4={"ICMPv4": {"type": 8}}), "203.0.113.7", 0, "icmpv4"),
        (hubble(drop_reason_desc="POLICY_DENY"), "203.0.113.7", 443, "tcp"),
        (hubble(drop_reason_desc="AUTH_REQUIRED"), "203.0.113.7", 443, "tcp"),
        (calico(dest_domains=["evil.example"]), "evil.example", 443, "tcp"),
        (calico(dest_ip=None), "a public address", 443, "tcp"),
        (calico(dest_name="db-0", dest_namespace="prod"), "prod/db-0", 443, "tcp"),
        (calico(proto=17, dest_port="53"), "203.0.113.7", 53, "udp"),
        (calico(proto="47", dest_port=None), "203.0.113.7", 0, "47"),
    ],
)
def test_where_it_wanted_to_go(line: str, host: str, port: int, protocol: str) -> None:
    found = one(line)
    assert (found.host, found.port, found.protocol) == (host, port, protocol)


@pytest.mark.parametrize(
    "line",
    [
        hubble(verdict="FORWARDED"),
        hubble(verdict="AUDIT"),
        hubble(traffic_direction="INGRESS"),
        hubble(is_reply=True),
        hubble(drop_reason_desc="CT_MAP_INSERTION_FAILED"),
        '{"lost_events":{"source":"HUBBLE_RING_BUFFER","num_events_lost":"4"},"node_name":"default/node-1"}',
        calico(action="allow"),
        calico(reporter="dst"),
        calico(source_namespace="-"),
    ],
)
def test_what_no_policy_dropped_on_its_way_out(line: str) -> None:
    assert one(line) == Passed()


@pytest.mark.parametrize(
    "wrapped",
    [
        json.dumps({"date": 1795425302.1, "log": HUBBLE}),
        json.dumps({"file": "/var/run/cilium/hubble/events.log", "message": HUBBLE, "source_type": "file"}),
        json.dumps({"stream": "stdout", "log": json.loads(HUBBLE)}),
        json.dumps({"line": json.dumps({"log": HUBBLE})}),
        json.dumps(json.loads(HUBBLE)["flow"]),
    ],
)
def test_what_shippers_put_around_it(wrapped: str) -> None:
    assert one(wrapped) == one(HUBBLE)


def test_an_array_is_read_like_lines() -> None:
    assert list(read(f"[{HUBBLE},\n{CALICO}]")) == [one(HUBBLE), one(CALICO)]


def test_lines_are_counted_and_empty_ones_are_none() -> None:
    found = list(read(f"\n{HUBBLE}\r\n\nnonsense\n{CALICO}\n"))
    assert [type(each) for each in found] == [Drop, Unknown, Drop]
    assert found[1] == Unknown(4, "it is no JSON")


@pytest.mark.parametrize(
    "line",
    [
        "IN=eth0 OUT= SRC=10.0.0.1 DST=203.0.113.7 PROTO=TCP DPT=443",
        "7",
        '"text"',
        "{}",
        '{"log": 3}',
        '{"level":"info","msg":"started"}',
        "[" * 100_000,
        '{"a":' * 50_000,
        "x" * 70_000,
        hubble(time="soon"),
        hubble(time=None),
        hubble(time=True),
        hubble(time="0001-01-01T00:00:00+14:00"),
        calico(end_time=1e300),
        calico(end_time=float("nan")),
        hubble(IP={}),
        hubble(source={}),
        hubble(l4={"TCP": {"destination_port": 70_000}}),
        calico(dest_port="9" * 5_000),
        calico(dest_ip=None, dest_name="-", dest_name_aggr="-"),
    ],
)
def test_what_is_not_understood_is_named_and_fails_nothing(line: str) -> None:
    found = list(read(f"{line}\n{HUBBLE}"))
    assert isinstance(found[0], Unknown)
    assert found[0].why
    assert found[-1] == one(HUBBLE)


def test_what_cannot_be_stored_is_left_out() -> None:
    found = one(hubble(destination_names=["ev\0il.example\ud800" + "x" * 300]))
    assert found.host.startswith("evil.examplex")
    assert len(found.host) == 253


# JSON can carry what PostgreSQL cannot: NUL, and half a surrogate pair.
_words = st.text(st.characters() | st.sampled_from("\0\ud800\udfff"), max_size=20)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=3),
    max_leaves=6,
)
_layer_4 = st.dictionaries(_words, st.fixed_dictionaries({"destination_port": st.just(443)}), max_size=2)
_HUBBLE_FIELDS = [*sorted(json.loads(HUBBLE)["flow"]), "destination_names", "is_reply"]
_CALICO_FIELDS = sorted(json.loads(CALICO))


def is_storable(found: Any) -> bool:
    """What is read, in words that a column of text takes; UnicodeEncodeError if it is half a character."""
    names = ("namespace", "pod", "host", "address", "protocol", "why")
    words = "".join(getattr(found, name, "") for name in names).encode()
    return isinstance(found, Drop | Passed | Unknown) and b"\0" not in words


@given(st.dictionaries(st.sampled_from(_HUBBLE_FIELDS), anything, max_size=4))
def test_any_hubble(changes: dict[str, Any]) -> None:
    assert is_storable(one(hubble(**changes)))


@given(_words, _words, _words, _layer_4)
def test_any_texts_of_hubble(namespace: str, pod: str, name: str, layer: dict[str, Any]) -> None:
    source = {"namespace": namespace, "pod_name": pod}
    assert is_storable(one(hubble(source=source, destination={**source}, destination_names=[name], l4=layer)))


@given(st.dictionaries(st.sampled_from(_CALICO_FIELDS), anything | _words, max_size=4))
def test_any_calico(changes: dict[str, Any]) -> None:
    assert is_storable(one(calico(**changes)))


@given(_words, _words, _words, _words)
def test_any_texts_of_calico(namespace: str, pod: str, name: str, protocol: str) -> None:
    changes = {"source_namespace": namespace, "source_name": pod, "dest_domains": [name], "proto": protocol}
    assert is_storable(one(calico(**changes, dest_name=name, dest_namespace=namespace)))


@given(st.text() | anything.map(json.dumps))
def test_anything(text: str) -> None:
    assert all(is_storable(each) for each in read(text))
