import { Button, Group, Select, Text, TextInput } from '@mantine/core'
import { useDebouncedCallback } from '@mantine/hooks'
import { IconPlus, IconSearch, IconX } from '@tabler/icons-react'
import { keepPreviousData, useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { getRouteApi, Link } from '@tanstack/react-router'
import { useEffect, useMemo, useState } from 'react'
import { identityPage, owners } from '../api/queries'
import type { IdentityQuery } from '../api/types'
import { useMay } from '../app/session'
import { Bulk } from '../identities/Bulk'
import { Rows } from '../identities/Rows'
import { Views } from '../identities/Views'
import { Card, Head } from '../parts/bits'
import { plain } from '../parts/Shown'
import { Await, Empty, Failure, unread } from '../parts/States'

const route = getRouteApi('/identities')
const page = 100

export default function Identities() {
  const { cord: _, ...q } = route.useSearch() as IdentityQuery & { cord?: string }
  const navigate = route.useNavigate()
  const may = useMay()
  const set = (change: Partial<IdentityQuery>, replace = false) =>
    void navigate({ replace, search: ({ cord: _, ...was }) => Object.fromEntries(Object.entries({ ...was, ...change }).filter(([, v]) => v)) as typeof was })
  const [chosen, setChosen] = useState<Record<string, true>>({})
  const list = useInfiniteQuery({
    queryKey: ['identities', q],
    initialPageParam: '',
    queryFn: ({ pageParam }) => identityPage(q, page, pageParam),
    getNextPageParam: (last) => last.next || undefined,
    placeholderData: keepPreviousData,
    refetchOnWindowFocus: false, // it may be many pages
  })
  const items = useMemo(() => list.data?.pages.flatMap((p) => p.items ?? []) ?? [], [list.data])
  const first = list.data?.pages[0]
  const total = first && `${first.total.toLocaleString()}${first.more ? ' or more' : ''}`
  const everybody = useQuery(owners)
  const people = everybody.data?.items ?? []
  const filtered = Object.entries(q).some(([k, v]) => k !== 'sort' && v)
  const picked = Object.keys(chosen).filter((k) => chosen[k])
  const key = JSON.stringify(q)
  useEffect(() => setChosen({}), [key])

  return (
    <>
      <Head
        title="Identities"
        sub={
          <span role="status">
            {total !== undefined ? `${total} ${filtered ? 'match' : 'in all'}` : items.length ? `${items.length.toLocaleString()} shown` : '\u00a0'}
          </span>
        }
      >
        <Views now={q} onOpen={(v) => void navigate({ search: v })} />
        {may('put-identity') && (
          <Button component={Link} to="/new" leftSection={<IconPlus size={16} />}>
            New agent
          </Button>
        )}
      </Head>
      <Group gap="xs" mb="sm" wrap="wrap" role="search" className="filters">
        <Search value={q.q ?? ''} onChange={(v) => set({ q: v || undefined }, true)} />
        <Pick label="State" value={q.state} data={['active', 'pending', 'suspended', 'killed', 'expired', 'retired']} onChange={(state) => set({ state })} />
        <Pick label="Kind" value={q.kind} data={['agent', 'service', 'bot', 'api_key', 'oauth_client']} onChange={(kind) => set({ kind })} />
        <Pick label="Owner" value={q.owner} data={people.map((o) => ({ value: o.id, label: plain(o.name || o.id, 60) }))} error={unread(everybody)} onChange={(owner) => set({ owner })} search />
        <Pick
          label="Needs"
          value={q.needs}
          data={[
            { value: 'expiring', label: 'expires soon' },
            { value: 'ownerless', label: 'no working owner' },
            { value: 'unused', label: 'not used' },
            { value: 'odd', label: 'behaves oddly' },
          ]}
          onChange={(needs) => set({ needs })}
        />
        {filtered && (
          <Button variant="subtle" color="gray" leftSection={<IconX size={14} />} onClick={() => void navigate({ search: q.sort ? { sort: q.sort } : {} })}>
            Clear
          </Button>
        )}
      </Group>
      {picked.length > 0 && <Bulk ids={picked} where={q} total={total} whole={(first?.total ?? 0) > picked.length} onDone={() => setChosen({})} />}
      <Card label="Identities">
        <Await of={list} lines={10}>
          {() =>
            items.length === 0 ? (
              filtered ? (
                <Empty title="Nothing matches" action={<Button variant="default" onClick={() => void navigate({ search: {} })}>Show all</Button>}>
                  No identity fits all of these. Take one away.
                </Empty>
              ) : (
                <Empty
                  title="There is no identity yet"
                  action={may('put-identity') ? <Button component={Link} to="/new">Make the first</Button> : undefined}
                >
                  Each agent, service or bot gets one of its own, with an owner who answers for it.
                </Empty>
              )
            ) : (
              <Rows
                items={items}
                sort={q.sort}
                onSort={(sort) => set({ sort }, true)}
                chosen={chosen}
                onChoose={may('bulk-identities') || may('suspend-identity') ? setChosen : undefined}
                more={list.hasNextPage}
                loading={list.isFetchingNextPage}
                onMore={() => void list.fetchNextPage()}
              />
            )
          }
        </Await>
        {list.isFetchNextPageError && <Failure error={list.error} again={() => void list.fetchNextPage()} />}
      </Card>
      {list.isPlaceholderData && (
        <Text size="xs" c="dimmed" mt={4} role="status">
          Looking…
        </Text>
      )}
    </>
  )
}

function Search({ value, onChange }: { value: string; onChange: (v: string) => void }) {
  const [text, setText] = useState(value)
  const tell = useDebouncedCallback(onChange, 60)
  useEffect(() => setText(value), [value])
  return (
    <TextInput
      aria-label="Search identities"
      placeholder="Name, purpose or owner"
      leftSection={<IconSearch size={16} />}
      value={text}
      maxLength={200}
      onChange={(e) => (setText(e.currentTarget.value), tell(e.currentTarget.value))}
      style={{ flex: '1 1 240px', maxWidth: 420 }}
    />
  )
}

function Pick({ label, value, data, onChange, search = false, error }: { label: string; error?: string; value?: string; data: (string | { value: string; label: string })[]; onChange: (v: string | undefined) => void; search?: boolean }) {
  return (
    <Select
      aria-label={label}
      placeholder={label}
      value={value ?? null}
      data={data}
      onChange={(v) => onChange(v ?? undefined)}
      clearable
      searchable={search}
      limit={200}
      error={error}
      clearButtonProps={{ 'aria-label': `Any ${label.toLowerCase()}` }}
      w={label === 'Owner' || label === 'Needs' ? 160 : 128}
    />
  )
}
