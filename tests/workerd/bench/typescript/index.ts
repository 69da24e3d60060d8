/** The service that `measured` is compared with. The headers are the same. */
import { MigrationRunner, type Migration } from "./migration-runner.js";
import { inPages, oneByOne, puts } from "./migrations.js";

interface Env {
  MY_SERVICE_KV: KVNamespace;
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const path = new URL(request.url).pathname;
    const runner = new MigrationRunner(env.MY_SERVICE_KV, "my-service");
    if (request.method === "POST" && path === "/migrate") {
      return Response.json(await runner.runPending(migrations(request), env));
    }
    if (request.method === "GET" && path === "/migrations/status") {
      return Response.json(await runner.getStatus(migrations(request)));
    }
    return new Response("hello\n");
  },
};

function migrations(request: Request): Migration[] {
  const asked = request.headers.get("migrations") ?? "0";
  const prefix = request.headers.get("records") ?? "";
  if (asked === "backfill one by one") return [oneByOne(prefix)];
  if (asked === "backfill in pages") return [inPages(prefix)];
  return Array.from({ length: Number(asked) }, (_, number) => puts(number));
}
