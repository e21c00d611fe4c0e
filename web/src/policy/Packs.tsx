import { Button, Group, MultiSelect, Stack, Text, UnstyledButton } from '@mantine/core'
import { useQueries, useQuery } from '@tanstack/react-query'
import { got, PUT, type Schemas } from '../api/client'
import { actions, packs, upstreams, useChange } from '../api/queries'
import type { Grant } from '../api/types'
import { useDraft } from '../app/draft'
import { Shown } from '../parts/Shown'
import { Await, Failure, unread, Waiting } from '../parts/States'
import { does, held, list } from '../parts/words'
import { WhatIf } from './WhatIf'

type Pack = Schemas['Pack']
type Part = Schemas['Part']

const titles: Record<string, string> = {
  reader: 'Read-only assistant', drafter: 'Drafts only', scheduler: 'Scheduler', clerk: 'Filing clerk', researcher: 'Researcher', assistant: 'Full assistant, with approvals',
}
const titled = (p: Pack) => titles[p.name] ?? p.name[0]!.toUpperCase() + p.name.slice(1)

/** Packs gives an identity a set of grants by what it is for: what each allows and stops is shown first, and then what that is on the chosen systems. */
export function Packs({ identity, had, onDone }: { identity: string; had: Grant[]; onDone?: () => void }) {
  const all = useQuery(packs)
  const ups = useQuery(upstreams)
  const [d, set, forget] = useDraft(`pack.${identity}`, { pack: '', on: [] as string[] })
  const put = useChange(() => got(PUT('/v1/identities/{name}/packs/{pack}', { params: { path: { name: identity, pack: d.pack } }, body: { upstreams: d.on } })))
  return (
    <Await of={all} lines={6}>
      {(page) => {
        const offered = (page.items ?? []).filter((p) => (p.parts ?? []).length)
        const chosen = offered.find((p) => p.name === d.pack)
        return (
          <form onSubmit={(e) => (e.preventDefault(), put.mutate(undefined, { onSuccess: () => (forget(), onDone?.()) }))}>
            <Stack>
              <div className="packs" role="radiogroup" aria-label="What is it for?">
                {offered.map((p) => (
                  <UnstyledButton key={p.name} className="card pack" role="radio" aria-checked={p.name === d.pack} onClick={() => (set({ ...d, pack: p.name }), put.reset())}>
                    <Text fw={600}>{titled(p)}</Text>
                    <Text size="sm" c="dimmed"><Shown text={p.for} /></Text>
                  </UnstyledButton>
                ))}
              </div>
              {chosen && (
                <section aria-label="What it stops">
                  <Text size="sm" fw={600}>What it stops</Text>
                  <ul className="plain">{(chosen.stops ?? []).map((s) => <li key={s}><Shown text={s} /></li>)}</ul>
                </section>
              )}
              {chosen && (
                <MultiSelect label="On which systems?" description="Its mailboxes, drives and calendars" required searchable data={(ups.data?.items ?? []).map((u) => u.name)} error={unread(ups)} value={d.on} onChange={(on) => (set({ ...d, on }), put.reset())} placeholder={d.on.length ? '' : 'mail'} />
              )}
              {chosen && d.on.length > 0 && <Preview identity={identity} pack={chosen} on={d.on} had={had} />}
              {put.isError && <Failure error={put.error} />}
              <Group justify="flex-end">
                <Button type="submit" loading={put.isPending} disabled={!chosen || d.on.length === 0}>{chosen ? `Make it a ${titled(chosen).toLowerCase().replace(/^drafts only$/, 'writer of drafts')}` : 'Give it'}</Button>
              </Group>
            </Stack>
          </form>
        )
      }}
    </Await>
  )
}

type Given = { id: string; upstream: string; part: Part; has: string[] }

/** Preview is what a pack comes to on these systems, and what of what the identity has it replaces. */
function Preview({ identity, pack, on, had }: { identity: string; pack: Pack; on: string[]; had: Grant[] }) {
  const known = useQueries({ queries: on.map((u) => actions(u)) })
  const wrong = known.find((q) => q.isError && !q.data)
  if (wrong) return <Failure error={wrong.error} again={() => void wrong.refetch()} />
  if (known.some((q) => !q.data)) return <Waiting lines={2} />
  const given: Given[] = on.flatMap((upstream, n) => {
    const has = new Set((known[n]!.data?.items ?? []).flatMap((a) => a.words ?? []))
    return (pack.parts ?? []).map((part) => ({ id: `${upstream}.pack-${part.name}`, upstream, part, has: (part.words ?? []).filter((w) => has.has(w)) })).filter((g) => g.has.length)
  })
  const gone = had.filter((g) => on.some((u) => g.id.startsWith(`${identity}/${u}.pack-`)) && !given.some((x) => g.id === `${identity}/${x.id}`))
  const none = on.filter((u) => !given.some((g) => g.upstream === u))
  const replayed = [
    ...given.map((g) => ({ identity, id: g.id, upstream: g.upstream, actions: g.has, ...(g.part.approve ? { approve: g.part.approve } : {}) })),
    ...gone.map((g) => ({ identity, id: g.id, removed: true })),
  ]
  return (
    <Stack gap="sm">
      <section aria-label="What it may do then" className="card">
        <div className="rows">
          {given.map((g) => (
            <div key={g.id}>
              <Text>On <b>{g.upstream}</b> it may {list(g.has.map(does))}{g.part.approve ? `, each with the yes of ${g.part.approve === 'owner' ? 'its owner' : g.part.approve}` : ''}.</Text>
              {g.part.layers && <Text size="sm" c="dimmed">{held(g.part.layers)}</Text>}
            </div>
          ))}
          {none.map((u) => <Text key={u} className="wait">{u} has no mail, files or events that this is about: leave it out.</Text>)}
          {gone.map((g) => <Text key={g.id} size="sm"><span className="bad">Taken away:</span> <span className="mono">{g.id.slice(identity.length + 1)}</span>, of the pack before.</Text>)}
        </div>
      </section>
      {given.length > 0 && <WhatIf body={{ grants: replayed }} />}
    </Stack>
  )
}
