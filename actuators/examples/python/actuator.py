"""A whole actuator in Python: takes `scale` directives for one service and keeps the generation beside the number."""
import argparse, glob, importlib, json, os, sys, tempfile, threading, time
import grpc
from grpc_tools import protoc
PROTO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../proto")


def generate(root):
    """Makes the client from the .proto files, in a directory that goes when we go."""
    out, files = tempfile.TemporaryDirectory(), glob.glob(os.path.join(root, "homeostat/v1/*.proto"))
    if protoc.main(["protoc", f"-I{root}", f"--python_out={out.name}", f"--grpc_python_out={out.name}", *files]):
        sys.exit(f"cannot read the .proto files under {root}")
    sys.path.insert(0, out.name)
    names = ("common_pb2", "knowledge_pb2", "execute_pb2", "execute_pb2_grpc")
    return [out] + [importlib.import_module(f"homeostat.v1.{name}") for name in names]


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


class Replicas:
    """The managed thing. A real one would start processes, and store both numbers in one write."""
    count, generation = 1, 0


def session(stub, args, replicas):
    namespace, name = args.resource.removeprefix("service:").split("/")
    lease = stub.Register(execute.RegisterRequest(actuator=knowledge.ActuatorSpec(
        name=args.name, instance=args.instance, kinds=[common.DIRECTIVE_KIND_SCALE], max_in_flight=1,
        resources=[knowledge.ResourcePattern(kind="service", namespace=namespace, name=name)], supports_undo=True)))
    held = dict(lease_id=lease.lease_id, epoch=lease.epoch)
    say("registered", epoch=lease.epoch, lease_ttl_ms=lease.lease_ttl_ms)
    stream = stub.Subscribe(execute.SubscribeRequest(**held))

    def keep_alive():
        while stream.is_active():
            time.sleep(lease.lease_ttl_ms / 3000)
            try:
                stub.KeepAlive(execute.KeepAliveRequest(**held), timeout=lease.lease_ttl_ms / 1000)
            except grpc.RpcError as error:
                error.code() == grpc.StatusCode.NOT_FOUND and stream.cancel()

    def report(delivery, result, **more):
        answer = stub.Report(execute.ReportRequest(
            **held, directive_id=delivery.directive.id, generation=delivery.directive.generation,
            attempt=delivery.attempt, result=execute.ReportResult.Value(f"REPORT_RESULT_{result}"), **more))
        say("reported", directive=delivery.directive.id, result=result,
            disposition=execute.ReportDisposition.Name(answer.disposition))

    threading.Thread(target=keep_alive, daemon=True).start()
    for delivery in stream:
        directive, before = delivery.directive, common.Observation(name="replicas", value=replicas.count)
        say("delivered", directive=directive.id, generation=directive.generation, attempt=delivery.attempt,
            replicas=directive.action.scale.replicas, why=directive.rationale.text)
        if directive.generation < replicas.generation:  # Only generations fence.
            report(delivery, "REFUSED", detail=f"older than generation {replicas.generation}")
            continue
        report(delivery, "ACCEPTED")
        if directive.generation > replicas.generation:  # The same one again is only confirmed.
            replicas.count, replicas.generation = directive.action.scale.replicas, directive.generation
        after = common.Observation(name="replicas", value=replicas.count)
        report(delivery, "APPLIED", before=[before], after=[after])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("resource", help="the service to scale, as in service:shop/cart")
    for flag, default in [("execute", "127.0.0.1:7405"), ("proto", PROTO), ("name", "python-example"), ("instance", "1")]:
        parser.add_argument(f"--{flag}", default=default, help=f"default: {default}")
    args, replicas = parser.parse_args(), Replicas()
    directory, common, knowledge, execute, services = generate(args.proto)
    stub = services.ExecuteStub(grpc.insecure_channel(args.execute, options=[("grpc.keepalive_time_ms", 10_000)]))
    while True:  # Whatever is lost is made anew; what was not answered is delivered again.
        try:
            session(stub, args, replicas)
        except grpc.RpcError as error:
            say("connecting_anew", code=error.code().name, detail=error.details())
        time.sleep(1)
