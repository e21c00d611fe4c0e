import { Button, Group, Select, SimpleGrid, Stack, Text, TextInput } from '@mantine/core'
import { useMutation, useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { got, POST, type Trouble } from '../api/client'
import { actions, foundIdentities, upstreams } from '../api/queries'
import type { Explained } from '../api/types'
import { useDraft } from '../app/draft'
import { Card, Who } from '../parts/bits'
import { Shown } from '../parts/Shown'
import { Failure, unread } from '../parts/States'

/** Try asks what would become of a request, and why. */
export function Try() {
  const [d, set] = useDraft('try', { identity: '', upstream: '', action: '', resource: '' })
  const [q, setQ] = useState('')
  const finding = useQuery(foundIdentities(q))
  const ups = useQuery(upstreams)
  const catalogue = useQuery({ ...actions(d.upstream), enabled: !!d.upstream })
  const found = finding.data?.items ?? []
  const up = ups.data?.items ?? []
  const acts = catalogue.data?.items ?? []
  const look = useMutation<Explained, Trouble>({
    mutationFn: () => got(POST('/v1/explain', { body: { identity: d.identity, upstream: d.upstream, action: d.action, ...(d.resource ? { resource: d.resource } : {}) } })),
  })
  const change = (c: Partial<typeof d>) => (set({ ...d, ...c }), look.reset())
  return (
    <div className="wide">
      <Card title="Would it be allowed now?" pad>
        <form onSubmit={(e) => (e.preventDefault(), look.mutate())}>
          <Stack>
            <SimpleGrid cols={{ base: 1, xs: 2 }}>
              <Select label="Who" required searchable value={d.identity || null} data={[...new Set([...(d.identity ? [d.identity] : []), ...found.map((i) => i.name)])]} onSearchChange={setQ} filter={({ options }) => options} error={unread(finding)} onChange={(v) => change({ identity: v ?? '' })} />
              <Select label="On which upstream" required searchable value={d.upstream || null} data={up.map((u) => u.name)} error={unread(ups)} onChange={(v) => change({ upstream: v ?? '', action: '' })} />
            </SimpleGrid>
            <Select label="Does what" required searchable disabled={!d.upstream} value={d.action || null} data={acts.map((a) => a.name)} limit={80} error={unread(catalogue)} onChange={(v) => change({ action: v ?? '' })} />
            <TextInput label="To what" placeholder="users/me/messages" value={d.resource} onChange={(e) => change({ resource: e.currentTarget.value })} />
            <Group justify="flex-end"><Button type="submit" loading={look.isPending} disabled={!d.identity || !d.upstream || !d.action}>Ask</Button></Group>
          </Stack>
        </form>
      </Card>
      <Card title="The answer" pad>
        {look.isError && <Failure error={look.error} />}
        {look.data ? <Answer a={look.data} /> : !look.isError && <Text c="dimmed">The same policies answer that decide at the gateway, and say which of them decided.</Text>}
      </Card>
    </div>
  )
}

function Answer({ a }: { a: Explained }) {
  return (
    <Stack role="status">
      <Text size="lg" fw={640} className={a.ask ? 'wait' : a.allow ? 'good' : 'bad'}>{a.ask ? 'It would wait for a yes' : a.allow ? 'It would be allowed' : 'It would be refused'}</Text>
      <Text><Shown text={a.reason} /></Text>
      {(a.change ?? []).length > 0 && (
        <div>
          <Text size="sm" fw={600}>What would change that</Text>
          {(a.change ?? []).map((c, n) => <Text size="sm" key={n}><Shown text={c.who} />: <span className="mono"><Shown text={c.command} /></span></Text>)}
        </div>
      )}
      {(a.links ?? []).length > 1 && (a.links ?? []).map((l) => <Text size="sm" key={l.identity}><Who id={l.identity} />: <Shown text={l.reason} /></Text>)}
      <details>
        <summary style={{ cursor: 'pointer' }}>Every policy that was looked at</summary>
        <div className="rows">
          {[...(a.guardrails ?? []).map((v) => ({ ...v, of: 'guardrail' })), ...(a.grants ?? []).map((v) => ({ ...v, of: 'grant' }))].map((v) => (
            <div key={v.of + v.id} style={{ padding: '6px 0' }}>
              <Text size="sm">{v.of} <span className="mono">{v.id}</span> {v.matched ? <b>matches</b> : <span className="dim">does not match</span>}</Text>
              <Text size="sm" c="dimmed"><Shown text={v.why} /></Text>
            </div>
          ))}
        </div>
      </details>
    </Stack>
  )
}
