import { Button, Group, Select, Text, TextInput } from '@mantine/core'
import { useDebouncedCallback } from '@mantine/hooks'
import { IconDownload, IconSearch, IconX } from '@tabler/icons-react'
import { keepPreviousData, useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { getRouteApi } from '@tanstack/react-router'
import { useEffect, useState } from 'react'
import { at } from '../api/client'
import { eventPage, upstreams, type EventQuery } from '../api/queries'
import { useMay } from '../app/session'
import { Whole } from '../ledger/Whole'
import { Card, Head } from '../parts/bits'
import { Events } from '../parts/Events'
import { Await, Empty, Failure, unread } from '../parts/States'
import { When } from '../parts/When'

const route = getRouteApi('/ledger')

export default function Ledger() {
  const { cord: _, ...q } = route.useSearch() as EventQuery & { cord?: string }
  const navigate = route.useNavigate()
  const may = useMay()
  const set = (c: Partial<EventQuery>, replace = false) => void navigate({ replace, search: ({ cord: _, ...was }) => Object.fromEntries(Object.entries({ ...was, ...c }).filter(([, v]) => v)) as typeof was })
  const known = useQuery(upstreams)
  const ups = known.data?.items ?? []
  const list = useInfiniteQuery({
    queryKey: ['events', 'all', q],
    initialPageParam: '',
    queryFn: ({ pageParam }) => eventPage(q, 100, pageParam),
    getNextPageParam: (last) => last.next || undefined,
    placeholderData: keepPreviousData,
  })
  const items = list.data?.pages.flatMap((p) => p.items ?? []) ?? []
  const back = list.data?.pages.at(-1)?.back_to
  const filtered = Object.values(q).some(Boolean)
  return (
    <>
      <Head title="Ledger" sub={<>Everything that happened, in an order that nobody can change afterwards. <span role="status">{list.data ? `${items.length.toLocaleString()} ${filtered ? 'match' : 'shown'}${list.hasNextPage ? ', and there are older ones' : ''}.` : ''}</span></>}>
        {may('export-events') && (
          <Button variant="default" component="a" href={at('v1/ledger/export')} download="events.jsonl" leftSection={<IconDownload size={16} />}>
            Export
          </Button>
        )}
      </Head>
      <Group gap="xs" mb="sm" role="search" className="filters">
        <Field label="Anything" icon value={q.text} onChange={(text) => set({ text }, true)} wide />
        <Field label="Identity" value={q.identity} onChange={(identity) => set({ identity }, true)} />
        <Field label="Owner" value={q.owner} onChange={(owner) => set({ owner }, true)} />
        <Pick label="Upstream" data={ups.map((u) => u.name)} error={unread(known)} value={q.upstream} onChange={(upstream) => set({ upstream })} />
        <Field label="Action" value={q.action} onChange={(action) => set({ action }, true)} />
        <Pick label="Class" data={['read', 'write', 'delete', 'admin']} value={q.class} onChange={(v) => set({ class: v })} />
        <Pick
          label="Kind"
          data={[
            { value: 'request', label: 'requests' }, { value: 'token', label: 'tokens' }, { value: 'identity', label: 'identities' }, { value: 'credential', label: 'credentials' },
            { value: 'grant', label: 'grants' }, { value: 'guardrail', label: 'guardrails' }, { value: 'approval', label: 'approvals' }, { value: 'upstream', label: 'upstreams' }, { value: 'owner', label: 'owners' }, { value: 'gateway', label: 'gateways' }, { value: 'task', label: 'tasks' },
          ].concat(q.type && !['request', 'token', 'identity', 'credential', 'grant', 'guardrail', 'approval', 'upstream', 'owner', 'gateway', 'task'].includes(q.type) ? [{ value: q.type, label: q.type }] : [])}
          value={q.type}
          onChange={(type) => set({ type })}
        />
        <Pick label="Outcome" data={['allowed', 'refused', 'failed', 'pending', { value: 'ended', label: 'ended, any' }]} value={q.outcome} onChange={(outcome) => set({ outcome })} />
        <Pick label="Since" data={[{ value: '1h', label: 'last hour' }, { value: '24h', label: 'last day' }, { value: '7d', label: 'last 7 days' }, { value: '30d', label: 'last 30 days' }].concat(q.since && !['1h', '24h', '7d', '30d'].includes(q.since) ? [{ value: q.since, label: `since ${q.since.slice(0, 10)}` }] : [])} value={q.since} onChange={(since) => set({ since })} />
        {q.by && <Button variant="default" rightSection={<IconX size={14} />} onClick={() => set({ by: undefined })}>By identities</Button>}
        {filtered && <Button variant="subtle" color="gray" leftSection={<IconX size={14} />} onClick={() => void navigate({ search: {} })}>Clear</Button>}
      </Group>
      <div className={may('get-status') ? 'wide' : undefined}>
        <Card label="Events">
          <Await of={list} lines={10}>
            {() =>
              items.length === 0 && back ? (
                <Empty title="Nothing so far">
                  Searched back to <When at={back} />. What is older is searched when you ask for it.
                </Empty>
              ) : items.length === 0 ? (
                <Empty title={filtered ? 'Nothing on record fits all of these' : 'The ledger is empty'}>{filtered ? 'Take one away, or look further back.' : undefined}</Empty>
              ) : (
                <Events of={items} />
              )
            }
          </Await>
          {list.isFetchNextPageError && <Failure error={list.error} again={() => void list.fetchNextPage()} />}
          {list.hasNextPage && (
            <Text ta="center" p="sm">
              <Button variant="subtle" loading={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>{back ? 'Look further back' : 'Older'}</Button>
            </Text>
          )}
        </Card>
        {may('get-status') && <Whole />}
      </div>
    </>
  )
}

function Field({ label, value = '', onChange, icon, wide }: { label: string; value?: string; onChange: (v: string | undefined) => void; icon?: boolean; wide?: boolean }) {
  const [text, setText] = useState(value)
  const tell = useDebouncedCallback((v: string) => onChange(v || undefined), 60)
  useEffect(() => setText(value), [value])
  return (
    <TextInput aria-label={label} placeholder={label} leftSection={icon ? <IconSearch size={16} /> : undefined} value={text} maxLength={256} onChange={(e) => (setText(e.currentTarget.value), tell(e.currentTarget.value))} style={wide ? { flex: '1 1 200px' } : { width: 128 }} />
  )
}

function Pick({ label, value, data, onChange, error }: { label: string; error?: string; value?: string; data: (string | { value: string; label: string })[]; onChange: (v: string | undefined) => void }) {
  return <Select aria-label={label} placeholder={label} data={data} error={error} value={value ?? null} onChange={(v) => onChange(v ?? undefined)} clearable clearButtonProps={{ 'aria-label': `Any ${label.toLowerCase()}` }} w={124} />
}
