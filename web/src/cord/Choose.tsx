import { Stack, Text, TextInput, UnstyledButton } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { IconSearch } from '@tabler/icons-react'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Trouble } from '../api/client'
import { foundIdentities, owners, upstreams } from '../api/queries'
import { useMe } from '../app/session'
import { Shown } from '../parts/Shown'
import { State } from '../parts/bits'
import { Await, Failure } from '../parts/States'

/** Choose is the cord on a page that is about nothing in particular. */
export function Choose({ onChoose }: { onChoose: (to: string) => void }) {
  const [text, setText] = useState('')
  const [q] = useDebouncedValue(text, 150)
  const me = useMe()
  const found = useQuery(foundIdentities(q))
  const everybody = useQuery(owners)
  const systems = useQuery(upstreams)
  const o = everybody.data?.items ?? []
  const u = systems.data?.items ?? []
  const has = (...s: (string | undefined)[]) => s.some((v) => v?.toLowerCase().includes(q.toLowerCase()))
  return (
    <Stack>
      <TextInput
        label="What is to stop?"
        placeholder="An identity, an owner, or an upstream"
        leftSection={<IconSearch size={16} />}
        value={text}
        onChange={(e) => setText(e.currentTarget.value)}
        data-autofocus
      />
      <Await of={found} lines={5}>
        {(page) => (
          <Group label="Identities" none="No identity is called that.">
            {(page.items ?? []).map((i) => (
              <Row key={i.id} name={i.name} sub={<>{i.purpose.slice(0, 90)}</>} side={<State of={i.state} />} onClick={() => onChoose(`identity:${i.name}`)} />
            ))}
          </Group>
        )}
      </Await>
      {[everybody, systems].map((one, n) => one.isError && !one.data && !(one.error instanceof Trouble && one.error.status === 403) && <Failure key={n} error={one.error} again={() => void one.refetch()} />)}
      <Group label="Everything of an owner">
        {o.filter((x) => has(x.id, x.name, x.email)).slice(0, 4).map((x) => (
          <Row key={x.id} name={x.name || x.id} sub={`${x.identities.toLocaleString()} identities`} onClick={() => onChoose(`owner:${x.id}`)} />
        ))}
      </Group>
      <Group label="Every call to an upstream">
        {u.filter((x) => has(x.name)).slice(0, 4).map((x) => (
          <Row key={x.name} name={x.name} sub={x.url} onClick={() => onChoose(`upstream:${x.name}`)} />
        ))}
      </Group>
      {(me.roles.includes('admin') || me.roles.includes('security')) && (
        <Group label="The last resort">
          <Row name="Everything" sub="Every identity there is" onClick={() => onChoose('all')} />
        </Group>
      )}
    </Stack>
  )
}

function Group({ label, none, children }: { label: string; none?: string; children: React.ReactNode[] | React.ReactNode }) {
  const empty = Array.isArray(children) && children.length === 0
  if (empty && !none) return null
  return (
    <section aria-label={label}>
      <Text size="xs" c="dimmed" fw={560} mb={4}>
        {label}
      </Text>
      <div className="card rows">{empty ? <Text size="sm" c="dimmed">{none}</Text> : children}</div>
    </section>
  )
}

function Row({ name, sub, side, onClick }: { name: string; sub: React.ReactNode; side?: React.ReactNode; onClick: () => void }) {
  return (
    <UnstyledButton onClick={onClick} w="100%" style={{ display: 'flex', justifyContent: 'space-between', gap: 12, alignItems: 'center' }}>
      <span style={{ minWidth: 0 }}>
        <Text fw={560} span>
          <Shown text={name} most={80} />
        </Text>
        <Text size="sm" c="dimmed" className="clip" component="div">
          {sub}
        </Text>
      </span>
      {side}
    </UnstyledButton>
  )
}
