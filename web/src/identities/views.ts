import { useQuery } from '@tanstack/react-query'
import { ask } from '../api/client'
import { useChange } from '../api/queries'
import type { IdentityQuery, Page } from '../api/types'

export type View = { name: string; q: IdentityQuery }
type Saved = { list: string; name: string; query: IdentityQuery }

const at = (name: string) => `v1/me/views/identities/${encodeURIComponent(name)}`

/** useViews are the searches that a person keeps. */
export function useViews() {
  const all = useQuery({ queryKey: ['views'], queryFn: () => ask<Page<Saved>>('GET', 'v1/me/views') })
  const change = useChange(({ name, q }: { name: string; q?: IdentityQuery }) => (q ? ask('PUT', at(name), { query: q }) : ask('DELETE', at(name))))
  const own = (all.data?.items ?? []).filter((v) => v.list === 'identities').map((v) => ({ name: v.name, q: v.query }))
  return { own, change, error: change.error ?? (all.data ? null : all.error) }
}
