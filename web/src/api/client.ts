import createClient from 'openapi-fetch'
import type { components, paths } from './schema.gen'

export type Schemas = components['schemas']

// The server writes into the page where the console is; the API is beside it.
export const consoleBase = new URL('.', document.baseURI)
export const apiBase = new URL('..', consoleBase)
export const at = (path: string) => new URL(path, apiBase).href

/** Trouble is what the control plane answered instead of what was asked for, or that it did not answer. */
export class Trouble extends Error {
  constructor(
    readonly status: number, // 0: it could not be reached
    message: string,
    readonly details: { location?: string; message?: string }[] = [],
    readonly mistakes: { file?: string; line?: number; text?: string }[] = [],
  ) {
    super(message)
  }
}

/** Who waits for the session to be there again. */
type Gate = () => Promise<void>
let gate: Gate | undefined
/** When the session ends while somebody works, requests wait behind this, and then go on. */
export function holdBehind(g: Gate | undefined) {
  gate = g
}

let away = false
const watching = new Set<() => void>()
const told = (now: boolean) => {
  if (now === away) return
  away = now
  watching.forEach((f) => f())
}
/** isAway says whether the last request got no answer of the control plane: none at all, or that of a proxy before it. */
export const isAway = () => away
export const onAway = (f: () => void) => (watching.add(f), () => void watching.delete(f))

async function send(input: Request): Promise<Response> {
  for (;;) {
    let reply: Response
    try {
      reply = await fetch(input.clone())
    } catch (e) {
      if (e instanceof DOMException && e.name === 'AbortError') throw e
      told(true)
      throw new Trouble(0, 'The control plane cannot be reached. What you wrote is still here; it is tried again when you ask.')
    }
    told(reply.status >= 502 && reply.status <= 504)
    if (reply.status !== 401 || !gate) return reply
    await gate()
  }
}

const client = createClient<paths>({ baseUrl: apiBase.href.replace(/\/$/, ''), fetch: send })
export const { GET, POST, PUT, DELETE } = client

type Result<T> = { data?: T; error?: unknown; response: Response }

/** got gives what was asked for, or throws Trouble. */
export async function got<T>(p: Promise<Result<T>>): Promise<T> {
  const { data, error, response } = await p
  if (!response.ok) throw trouble(response.status, error)
  return data as T
}

function trouble(status: number, error: unknown): Trouble {
  const e = (typeof error === 'object' && error ? error : {}) as Record<string, unknown>
  const detail = typeof e.detail === 'string' ? e.detail : typeof e.title === 'string' ? e.title : `It did not work (${status}).`
  return new Trouble(status, detail, (e.errors as []) ?? [], (e.mistakes as []) ?? [])
}

/** ask is for the operations that are not in our OpenAPI. */
export async function ask<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const init: RequestInit = { method, signal, headers: body === undefined ? {} : { 'Content-Type': 'application/json' } }
  if (body !== undefined) init.body = JSON.stringify(body)
  const reply = await send(new Request(at(path), init))
  const text = await reply.text()
  let parsed: unknown
  try {
    parsed = text ? JSON.parse(text) : undefined
  } catch {
    parsed = { detail: reply.ok ? undefined : text.slice(0, 500) }
  }
  if (!reply.ok) throw trouble(reply.status, parsed)
  return parsed as T
}
