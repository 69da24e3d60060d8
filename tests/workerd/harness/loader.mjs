/**
 * A Worker beside the one under test, which loads and dumps namespaces: from within the runtime an operation takes a
 * third of the time that it takes from outside. `POST /BINDING` puts entries, `GET /BINDING?cursor=…[&text]` gives a
 * page of them.
 */
import { dumpPage, loadNamespace } from "./namespace.mjs";

export default {
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url);
    const kv = env[pathname.slice(1)];
    if (request.method === "GET") {
      return Response.json(await dumpPage(kv, searchParams.get("cursor") ?? undefined, searchParams.has("text")));
    }
    await loadNamespace(kv, await request.json());
    return new Response();
  },
};
