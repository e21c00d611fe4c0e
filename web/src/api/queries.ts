import { keepPreviousData, QueryClient, queryOptions, useMutation, useQueryClient } from '@tanstack/react-query'
import { ask, GET, got, Trouble } from './client'
import type { Graph, HomeView, IdentityQuery, Identity, LedgerEntry, Me, Owner, Page, Receipt, SignInOptions, Stops } from './types'

export const client = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      retry: (n, e) => n < 2 && e instanceof Trouble && (e.status === 0 || e.status >= 502),
      refetchOnWindowFocus: true,
    },
  },
})

const name = (n: string) => ({ params: { path: { name: n } } })
const search = (q: Record<string, string | number | undefined>) => {
  const s = new URLSearchParams()
  for (const [k, v] of Object.entries(q)) if (v !== undefined && v !== '') s.set(k, String(v))
  return s.size ? `?${s}` : ''
}

export const me = queryOptions({
  queryKey: ['me'],
  staleTime: 60_000,
  refetchOnWindowFocus: 'always', // somebody else may have signed in at this browser
  queryFn: async ({ signal }): Promise<Me | null> => {
    try {
      return await ask<Me>('GET', 'v1/me', undefined, signal)
    } catch (e) {
      if (e instanceof Trouble && e.status === 401) return null
      throw e
    }
  },
})
export const signInOptions = queryOptions({
  queryKey: ['sign-in-options'],
  queryFn: () => ask<SignInOptions>('GET', 'console/sign-in/options'),
})
export const home = queryOptions({ queryKey: ['home'], queryFn: () => ask<HomeView>('GET', 'v1/home'), refetchInterval: 15_000 })
export const status = queryOptions({ queryKey: ['status'], queryFn: () => got(GET('/v1/status')), refetchInterval: 15_000 })

export type IdentityPage = Page<Identity> & { total: number; more?: boolean }
export const identityPage = (q: IdentityQuery, limit: number, after = '') =>
  ask<IdentityPage>('GET', `v1/identities${search({ ...q, limit, after })}`)
export const identity = (n: string) => queryOptions({ queryKey: ['identity', n], queryFn: () => got(GET('/v1/identities/{name}', name(n))) })
export const tree = (n: string) => queryOptions({ queryKey: ['tree', n], queryFn: () => got(GET('/v1/identities/{name}/tree', name(n))) })
export const graph = (n: string) => queryOptions({ queryKey: ['graph', n], queryFn: () => ask<Graph>('GET', `v1/identities/${encodeURIComponent(n)}/graph`) })
export const stops = (n: string) =>
  queryOptions({ queryKey: ['stops', n], staleTime: 0, queryFn: () => ask<Stops>('GET', `v1/identities/${encodeURIComponent(n)}/stops`) })
export const foundIdentities = (q: string) =>
  queryOptions({ queryKey: ['identities', 'found', q], placeholderData: keepPreviousData, queryFn: () => identityPage({ q }, 8) })

/** owners are all there are, up to 10 000; with next there are more. */
export const owners = queryOptions({
  queryKey: ['owners'],
  queryFn: async () => {
    const items: Owner[] = []
    let next: string | undefined = ''
    while (next !== undefined && items.length < 10_000) {
      const page: { items: Owner[] | null; next?: string } = await got(GET('/v1/owners', { params: { query: { limit: 1000, ...(next ? { after: next } : {}) } } }))
      items.push(...(page.items ?? []))
      next = page.next || undefined
    }
    return { items, next }
  },
})
export const owner = (n: string) => queryOptions({ queryKey: ['owner', n], queryFn: () => got(GET('/v1/owners/{name}', name(n))) })
export const upstreams = queryOptions({ queryKey: ['upstreams'], queryFn: () => got(GET('/v1/upstreams')) })
export const upstream = (n: string) => queryOptions({ queryKey: ['upstream', n], queryFn: () => got(GET('/v1/upstreams/{name}', name(n))) })
export const actions = (n: string) => queryOptions({ queryKey: ['actions', n], queryFn: () => got(GET('/v1/upstreams/{name}/actions', name(n))) })
export const offer = (n: string, on: boolean) =>
  queryOptions({ queryKey: ['offer', n], enabled: on, retry: false, queryFn: () => got(GET('/v1/upstreams/{name}/offer', name(n))) })
export const accounts = (n: string) => queryOptions({ queryKey: ['accounts', n], queryFn: () => got(GET('/v1/upstreams/{name}/accounts', name(n))) })
export const packs = queryOptions({ queryKey: ['packs'], staleTime: Infinity, queryFn: () => got(GET('/v1/packs')) })
export const guardrails = queryOptions({ queryKey: ['guardrails'], queryFn: () => got(GET('/v1/guardrails')) })
export const gateways = queryOptions({ queryKey: ['gateways'], queryFn: () => got(GET('/v1/gateways')), refetchInterval: 5_000 })
export const approvals = (state: string) =>
  queryOptions({
    queryKey: ['approvals', state],
    refetchInterval: 5_000,
    queryFn: () => got(GET('/v1/approvals', { params: { query: { ...(state === 'mine' ? { state: 'waiting', mine: true } : { state: (state || undefined) as 'waiting' | undefined }), limit: 1000 } } })),
  })
export const approval = (n: string) =>
  queryOptions({ queryKey: ['approval', n], refetchInterval: 5_000, queryFn: () => got(GET('/v1/approvals/{name}', name(n))) })
export const tasks = (n: string) => queryOptions({ queryKey: ['tasks', n], queryFn: () => got(GET('/v1/tasks', { params: { query: { identity: n, limit: 50 } } })) })

export type EventQuery = Partial<
  Record<'identity' | 'owner' | 'upstream' | 'action' | 'class' | 'type' | 'outcome' | 'by' | 'task' | 'text' | 'since' | 'until', string>
>
export const eventPage = (q: EventQuery, limit: number, after = '') => ask<Page<LedgerEntry> & { back_to?: string }>('GET', `v1/ledger/events${search({ ...q, limit, after })}`)
export const events = (q: EventQuery, limit: number) =>
  queryOptions({ queryKey: ['events', q, limit], placeholderData: keepPreviousData, queryFn: () => eventPage(q, limit) })
export const proof = (n: string) => queryOptions({ queryKey: ['proof', n], staleTime: Infinity, queryFn: () => got(GET('/v1/ledger/proof/{name}', name(n))) })
export const ledgerKey = queryOptions({ queryKey: ['ledger-key'], staleTime: Infinity, queryFn: () => got(GET('/v1/ledger/key')) })
export const receipt = (r: Receipt) =>
  queryOptions({
    queryKey: ['receipt', r.cursor.epoch, r.cursor.seq],
    initialData: r,
    staleTime: 0,
    refetchInterval: (q) => (Object.keys(q.state.data?.waiting ?? {}).length ? 700 : false),
    queryFn: () => got(GET('/v1/receipt', { params: { query: { epoch: r.cursor.epoch, seq: r.cursor.seq } } })),
  })

/** useChange does something, and has everything on the page read again. */
export function useChange<A, R>(f: (a: A) => Promise<R>) {
  const q = useQueryClient()
  return useMutation<R, Trouble, A>({ mutationFn: f, onSettled: () => q.invalidateQueries() })
}
