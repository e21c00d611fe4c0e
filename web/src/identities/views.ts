import { useLocalStorage } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { ask } from '../api/client'
import { useChange } from '../api/queries'
import type { IdentityQuery, Page } from '../api/types'
import { useMay, useMe } from '../app/session'

export type View = { name: string; q: IdentityQuery }
type Saved = { list: string; name: string; query: IdentityQuery }

const at = (name: string) => `v1/me/views/identities/${encodeURIComponent(name)}`

/** useViews are the searches that a person keeps: at the server, or, if that keeps none, in this browser, for each person by themselves. */
export function useViews() {
  const me = useMe()
  const server = useMay()('put-view')
  const [here, setHere] = useLocalStorage<View[]>({ key: `lanyard.views.${me.owner || me.name}`, defaultValue: [] })
  const there = useQuery({ queryKey: ['views'], enabled: server, queryFn: () => ask<Page<Saved>>('GET', 'v1/me/views') })
  const change = useChange(async ({ name, q }: { name: string; q?: IdentityQuery }) => {
    if (server) await (q ? ask('PUT', at(name), { query: q }) : ask('DELETE', at(name)))
    else setHere([...here.filter((v) => v.name !== name), ...(q ? [{ name, q }] : [])])
  })
  const own = server ? (there.data?.items ?? []).filter((v) => v.list === 'identities').map((v) => ({ name: v.name, q: v.query })) : here
  return { own, server, change, error: change.error ?? (there.data ? null : there.error) }
}
