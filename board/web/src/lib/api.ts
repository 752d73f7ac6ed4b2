// The HTTP API.

import type { Me } from "./types";

/** What the API says went wrong; `code` is stable, `network` if it could not be reached. */
export class ApiError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly remedy = "",
  ) {
    super(message);
  }
}

/** Told to the window when the hub says that nobody is logged in. */
export const LOGGED_OUT = "liftline:logged-out";

let csrf = "";

async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(path, {
      method,
      headers: {
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(method === "GET" ? {} : { "x-csrf-token": csrf }),
      },
      body: body === undefined ? null : JSON.stringify(body),
      signal: signal ?? null,
    });
  } catch (failure) {
    if (failure instanceof DOMException && failure.name === "AbortError") throw failure;
    throw new ApiError("network", "The hub cannot be reached.");
  }
  const text = await answer.text();
  if (!answer.ok) {
    let error = { code: String(answer.status), message: answer.statusText, remedy: "" };
    try {
      error = { ...error, ...(JSON.parse(text) as { error: typeof error }).error };
    } catch {
      // Not from the hub itself, perhaps from a proxy: the status says enough.
    }
    if (error.code === "not_logged_in") dispatchEvent(new Event(LOGGED_OUT));
    throw new ApiError(error.code, error.message, error.remedy);
  }
  return (text ? JSON.parse(text) : undefined) as T;
}

export const get = <T>(path: string, signal?: AbortSignal) => call<T>("GET", path, undefined, signal);
export const post = <T>(path: string, body: unknown = {}) => call<T>("POST", path, body);

/** Who is logged in, if anybody; remembers the token that changes need. */
export async function me(): Promise<Me | null> {
  const { me } = await get<{ me: Me | null }>("/api/v1/session");
  csrf = me?.csrf ?? "";
  return me;
}
