import { Alert, Button, Group, MultiSelect, Select, SegmentedControl, SimpleGrid, Stack, Switch, TagsInput, Text, Textarea, TextInput } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { useMemo } from 'react'
import { got, PUT, type Schemas } from '../api/client'
import { actions as actionsQuery, upstreams, useChange } from '../api/queries'
import type { Grant } from '../api/types'
import { useEdit } from '../app/draft'
import { Empty, Failure, unread } from '../parts/States'
import { held, may as says } from '../parts/words'
import { Moved } from './Moved'
import { WhatIf } from './WhatIf'

type Draft = { name: string; upstream: string; actions: string[]; resources: string[]; where: string[]; approve: string; until: string; others: boolean; plain: boolean; cedar: string; record?: string; fresh?: string; layers?: Schemas['Layers'] }
const empty: Draft = { name: '', upstream: '', actions: [], resources: [], where: [], approve: '', until: '', others: false, plain: true, cedar: '' }
const classes = [
  { value: 'read', label: 'read: look at anything' },
  { value: 'write', label: 'write: make and change' },
  { value: 'delete', label: 'delete' },
  { value: 'admin', label: 'admin: change who may do what' },
]

function from(g: Grant): Draft {
  return {
    name: g.id.slice(g.id.indexOf('/') + 1),
    upstream: g.upstream,
    actions: g.actions ?? [],
    resources: g.resources ?? [],
    where: Object.entries(g.conditions ?? {}).map(([k, c]) => `${k}=${c.is ?? c.like ?? (c.one_of ?? []).join('|')}`),
    approve: g.approve ?? '',
    until: g.until.slice(0, 10),
    others: !!g.only_for_others,
    plain: g.plain,
    cedar: g.plain ? '' : (g.cedar ?? ''),
    ...(g.record ? { record: g.record } : {}),
    ...(g.fresh ? { fresh: g.fresh } : {}),
    ...(g.layers ? { layers: g.layers } : {}),
  }
}

/** Conditions that the short form cannot say, or would say otherwise: such a grant is changed as Cedar. */
const bounded = (g?: Grant) => !!g?.plain && JSON.stringify(input(from(g)).conditions ?? {}) !== JSON.stringify(g.conditions ?? {})

export function input(d: Draft): Schemas['GrantInput'] {
  const base = { upstream: d.upstream, ...(d.until ? { until: d.until } : {}), ...(d.approve ? { approve: d.approve } : {}), ...(d.record ? { record: d.record as 'before' } : {}), ...(d.fresh && d.approve ? { fresh: d.fresh } : {}), ...(d.layers ? { layers: d.layers } : {}) }
  if (!d.plain) return { ...base, cedar: d.cedar }
  const conditions: Record<string, Schemas['Condition']> = {}
  for (const w of d.where) {
    const [k, ...rest] = w.split('=')
    const v = rest.join('=')
    if (k && v) conditions[k.trim()] = v.includes('*') ? { like: v } : v.includes('|') ? { one_of: v.split('|') } : { is: v }
  }
  return {
    ...base,
    actions: d.actions,
    ...(d.resources.length ? { resources: d.resources } : {}),
    ...(Object.keys(conditions).length ? { conditions } : {}),
    ...(d.others ? { only_for_others: true } : {}),
  }
}

const start = (g?: Grant): Draft => (g ? { ...from(g), plain: g.plain && !bounded(g), cedar: bounded(g) ? (g.cedar ?? '') : from(g).cedar } : empty)

const said = (g: Partial<Grant> | null) => (g ? [g.plain ? says(g as Grant) : (g.cedar ?? ''), g.layers ? held(g.layers) : '', g.until ? `Until ${g.until.slice(0, 10)}.` : ''].filter(Boolean).join('\n') : '')

/** GrantForm says what one identity may do on one upstream, in plain fields or in Cedar, and reads it back in words. It changes the grant of this id, or, without one, makes one. */
export function GrantForm({ identity, id, grant, fixed = false, onSaved }: { identity: string; id?: string; fixed?: boolean; grant?: Grant; onSaved?: () => void }) {
  const e = useEdit(`grant.${identity}.${id ?? 'new'}`, grant, start)
  const { d, set, forget } = e
  const ups = useQuery(upstreams)
  const up = ups.data?.items ?? []
  const catalogue = useQuery({ ...actionsQuery(d.upstream), enabled: !!d.upstream })
  const acts = catalogue.data?.items ?? []
  const name = d.name.trim() || d.upstream
  const put = useChange(() => got(PUT('/v1/identities/{name}/grants/{part}', { params: { path: { name: identity, part: name } }, body: { ...input(d), was: e.was } })))
  const known = useMemo(() => [{ group: 'Classes', items: classes }, { group: 'Actions', items: acts.slice(0, 400).map((a) => ({ value: a.name, label: a.name })) }], [acts])
  const complete = !!d.upstream && (d.plain ? d.actions.length > 0 : !!d.cedar.trim())
  const sentence = complete && d.plain ? says({ plain: true, ...input(d) } as Grant) : ''
  const { layers: _, ...replayed } = input(d) // what is held back of a reply is not in the record
  const [settled] = useDebouncedValue(JSON.stringify({ identity, id: name, ...replayed }), 500)
  const admin = d.actions.includes('admin') || d.actions.includes('delete')
  if (id && !grant && !e.moved) return <Empty title="There is no such grant">It was taken away, or its name was mistyped.</Empty>
  return (
    <form onSubmit={(ev) => (ev.preventDefault(), put.mutate(undefined, { onSuccess: () => (forget(), onSaved?.()) }))}>
      <Stack>
        <SimpleGrid cols={{ base: 1, xs: 2 }}>
          <Select label="On which upstream?" required searchable data={up.map((u) => u.name)} value={d.upstream || null} onChange={(v) => set({ ...d, upstream: v ?? '', actions: v === d.upstream ? d.actions : [] })} disabled={!!id} error={unread(ups)} />
          <TextInput label="Name of the grant" placeholder={d.upstream || 'read-mail'} value={d.name} onChange={(ev) => set({ ...d, name: ev.currentTarget.value })} maxLength={63} disabled={!!id} />
        </SimpleGrid>
        <SegmentedControl size="xs" value={d.plain ? 'plain' : 'cedar'} onChange={(v) => set({ ...d, plain: v === 'plain' })} data={[{ value: 'plain', label: 'In plain fields' }, { value: 'cedar', label: 'In Cedar' }]} aria-label="How it is written" style={{ alignSelf: 'flex-start' }} />
        {d.plain ? (
          <>
            <MultiSelect label="What?" description="Whole classes, or single actions" required searchable data={known} value={d.actions} onChange={(v) => set({ ...d, actions: v })} disabled={!d.upstream} limit={60} nothingFoundMessage={catalogue.isError ? undefined : 'No such action'} error={unread(catalogue)} />
            <SimpleGrid cols={{ base: 1, xs: 2 }}>
              <TagsInput label="Only these resources" description="Patterns with *; none means all" value={d.resources} onChange={(v) => set({ ...d, resources: v })} placeholder={d.resources.length ? '' : 'users/me/*'} />
              <TagsInput label="Only with these arguments" description="name=value; * for any text, | for or" value={d.where} onChange={(v) => set({ ...d, where: v })} placeholder={d.where.length ? '' : 'userId=me'} />
            </SimpleGrid>
          </>
        ) : (
          <Textarea label="Cedar" required autosize minRows={6} spellCheck={false} value={d.cedar} onChange={(ev) => set({ ...d, cedar: ev.currentTarget.value })} placeholder={'permit (principal, action in [Lanyard::Action::"read"], resource in Lanyard::Upstream::"mail");'} styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 12.5 } }} />
        )}
        <SimpleGrid cols={{ base: 1, xs: 2 }}>
          <TextInput label="Ask first" description="Whose yes each call needs: owner, upstream, operator, or names" placeholder="nobody’s" value={d.approve} onChange={(ev) => set({ ...d, approve: ev.currentTarget.value })} maxLength={200} />
          <TextInput label="Until" description="7d, or a date" placeholder="the identity’s end" value={d.until} onChange={(ev) => set({ ...d, until: ev.currentTarget.value })} maxLength={64} />
        </SimpleGrid>
        {d.plain && <Switch label="Only on behalf of others, never for itself" checked={d.others} onChange={(ev) => set({ ...d, others: ev.currentTarget.checked })} />}
        {sentence && <Text className="note" role="status">{sentence}</Text>}
        {admin && !d.approve && <Alert color="yellow" variant="light">This is a lot to do without anybody’s yes. “Ask first” makes each such call wait for a person.</Alert>}
        {complete && <WhatIf body={{ grants: [JSON.parse(settled) as Record<string, unknown>] }} />}
        {d.layers && <Text size="sm" className="note">{held(d.layers)} That stays as it is when you save.</Text>}
        <Moved edit={e} noun="grant" now={said(e.now)} mine={said({ plain: d.plain, ...input(d) } as Grant)} />
        {put.isError && !e.moved && <Failure error={put.error} />}
        <Group justify="flex-end">
          <Button type="submit" loading={put.isPending} disabled={fixed || !complete || e.moved}>{id ? 'Save' : 'Grant it'}</Button>
        </Group>
      </Stack>
    </form>
  )
}
