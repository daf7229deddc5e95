// Who looks, and what they may do.

import { get } from "./api.js";

let known = null;

/** The response of /api/v1/session. Another session begins with another visit of the page. Throws as `get`. */
export async function session(signal) {
  known ??= await get("/api/v1/session", { signal });
  return known;
}
