import { Button, Group, Modal, Select, Tabs, Text } from '@mantine/core'
import { IconPlus } from '@tabler/icons-react'
import { useQuery } from '@tanstack/react-query'
import { getRouteApi } from '@tanstack/react-router'
import { useState } from 'react'
import { DELETE, got } from '../api/client'
import { foundIdentities, guardrails, identity, identityPage, upstreams, useChange } from '../api/queries'
import type { Guardrail } from '../api/types'
import { useMay, useMayGrant } from '../app/session'
import { GrantRow } from '../identity/May'
import { Card, Code, Head, Who } from '../parts/bits'
import { Shown } from '../parts/Shown'
import { Await, Empty, Failure, unread, Waiting } from '../parts/States'
import { short } from '../parts/words'
import { GrantForm } from '../policy/GrantForm'
import { GuardrailForm } from '../policy/GuardrailForm'
import { Try } from '../policy/Try'
import { forbids } from '../policy/forbids'

const route = getRouteApi('/policy')

export default function Policy() {
  const { tab = 'guardrails' } = route.useSearch()
  const navigate = route.useNavigate()
  return (
    <>
      <Head title="Policy" sub="Grants say what one identity may do. Guardrails hold for the whole organisation, whatever is granted." />
      <Tabs value={tab} onChange={(v) => void navigate({ search: { tab: v ?? undefined } })} keepMounted={false}>
        <Tabs.List mb="md">
          <Tabs.Tab value="guardrails">Guardrails</Tabs.Tab>
          <Tabs.Tab value="grants">Grants</Tabs.Tab>
          <Tabs.Tab value="try">Would it be allowed?</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="guardrails"><Guardrails /></Tabs.Panel>
        <Tabs.Panel value="grants"><Grants /></Tabs.Panel>
        <Tabs.Panel value="try"><Try /></Tabs.Panel>
      </Tabs>
    </>
  )
}

function Guardrails() {
  const { edit } = route.useSearch()
  const navigate = route.useNavigate()
  const may = useMay()
  const q = useQuery(guardrails)
  const close = () => void navigate({ search: { tab: 'guardrails' } })
  return (
    <Card
      title="Guardrails"
      side={may('put-guardrail') ? <Button size="compact-sm" leftSection={<IconPlus size={14} />} onClick={() => void navigate({ search: { tab: 'guardrails', edit: 'new' } })}>New guardrail</Button> : undefined}
    >
      <Await of={q}>
        {(page) => {
          const list = page.items ?? []
          const one = list.find((g) => g.id === edit)
          return (
            <>
              {list.length === 0 ? (
                <Empty title="No guardrail">A guardrail holds for every identity, whatever is granted.</Empty>
              ) : (
                <div className="rows">{list.map((g) => <Rail key={g.id} g={g} onEdit={() => void navigate({ search: { tab: 'guardrails', edit: g.id } })} />)}</div>
              )}
              {edit && (
                <Modal opened onClose={close} title={edit === 'new' ? 'New guardrail' : `Guardrail ${edit.slice(0, 80)}`} size="xl">
                  {!may('put-guardrail') && <Text className="note" mb="md">You may look at this, and not change it.</Text>}
                  <GuardrailForm key={edit} fixed={!may('put-guardrail')} id={edit === 'new' ? undefined : edit} g={one} onSaved={close} />
                </Modal>
              )}
            </>
          )
        }}
      </Await>
    </Card>
  )
}

function Rail({ g, onEdit }: { g: Guardrail; onEdit: () => void }) {
  const [open, setOpen] = useState(false)
  const [sure, setSure] = useState(false)
  const builtIn = g.id.startsWith('lanyard.') // nobody changes those
  const allowed = useMay()
  const may = (operation: string) => !builtIn && allowed(operation)
  const remove = useChange(() => got(DELETE('/v1/guardrails/{name}', { params: { path: { name: g.id } } })))
  return (
    <div>
      <Group justify="space-between" align="flex-start" wrap="nowrap">
        <div style={{ minWidth: 0 }}>
          <Text fw={560}><Shown text={g.description || forbids(g.cedar) || g.id} /></Text>
          <Text size="sm" c="dimmed">
            <span className="mono">{g.id}</span>
            {g.description && forbids(g.cedar) ? ` · ${forbids(g.cedar)}` : ''}
            {builtIn ? ' · built in' : g.set ? ` · from the manifest set ${g.set}` : ''}
          </Text>
        </div>
        <Group gap={4} wrap="nowrap">
          <Button size="compact-sm" variant="subtle" aria-expanded={open} onClick={() => setOpen(!open)}>Cedar</Button>
          {may('put-guardrail') && <Button size="compact-sm" variant="subtle" onClick={onEdit}>Edit</Button>}
          {may('remove-guardrail') && (
            <Button size="compact-sm" variant="subtle" color="red" loading={remove.isPending} onClick={() => (sure ? remove.mutate() : setSure(true))} onBlur={() => setSure(false)}>
              {sure ? 'Really remove' : 'Remove'}
            </Button>
          )}
        </Group>
      </Group>
      {remove.isError && <Failure error={remove.error} />}
      {open && <div style={{ marginTop: 8 }}><Code cedar text={g.cedar} /></div>}
    </div>
  )
}

function Grants() {
  const { edit, identity: of, upstream } = route.useSearch()
  const navigate = route.useNavigate()
  const give = useMayGrant()
  const [q, setQ] = useState('')
  const finding = useQuery(foundIdentities(q))
  const found = finding.data?.items ?? []
  const upq = useQuery(upstreams)
  const ups = upq.data?.items ?? []
  const name = of ?? (edit && edit.includes('/') ? edit.slice(0, edit.indexOf('/')) : undefined)
  const some = useQuery({ queryKey: ['identities', 'granted'], queryFn: () => identityPage({ sort: 'name' }, 100), enabled: !name })
  const one = useQuery({ ...identity(name ?? ''), enabled: !!name })
  const close = () => void navigate({ search: { tab: 'grants', identity: of, upstream } })
  const grant = one.data?.grants?.find((g) => g.id === edit)
  const list = (name ? (one.data ? [one.data] : []) : (some.data?.items ?? [])).flatMap((i) => (i.grants ?? []).map((g) => ({ i, g }))).filter(({ g }) => !upstream || g.upstream === upstream)
  return (
    <>
      <Group mb="sm" gap="xs">
        <Select aria-label="Identity" placeholder="Of every identity" searchable clearable clearButtonProps={{ 'aria-label': 'Of every identity' }} value={name ?? null} data={[...new Set([...(name ? [name] : []), ...found.map((i) => i.name)])]} onSearchChange={setQ} filter={({ options }) => options} error={unread(finding)} onChange={(v) => void navigate({ search: { tab: 'grants', identity: v ?? undefined, upstream } })} />
        <Select aria-label="Upstream" placeholder="On every upstream" clearable clearButtonProps={{ 'aria-label': 'On every upstream' }} value={upstream ?? null} data={ups.map((u) => u.name)} error={unread(upq)} onChange={(v) => void navigate({ search: { tab: 'grants', identity: of, upstream: v ?? undefined } })} />
        {name && give && <Button ml="auto" leftSection={<IconPlus size={16} />} onClick={() => void navigate({ search: { tab: 'grants', identity: name, edit: 'new' } })}>New grant</Button>}
      </Group>
      <Card title={name ? `Grants of ${name.slice(0, 60)}` : 'Grants'}>
        <Await of={(name ? one : some) as typeof some}>
          {() =>
            list.length === 0 ? (
              <Empty title={!name && some.data?.next ? 'No such grant among the first 100 identities' : 'No grant'}>{upstream ? `None is on ${upstream}.` : name ? 'So every call of it is refused.' : 'Nobody may do anything yet.'}</Empty>
            ) : (
              <div className="rows">{list.map(({ i, g }) => <GrantRow key={g.id} g={g} who={name ? undefined : <><Who id={i.id} />: </>} />)}</div>
            )
          }
        </Await>
      </Card>
      {!name && some.data?.next && <Text size="sm" c="dimmed" mt="xs">Those of the first 100 identities; choose one to see its own.</Text>}
      {edit && name && (
        <Modal opened onClose={close} title={edit === 'new' ? `A grant for ${short(name).slice(0, 60)}` : `Grant ${edit.slice(0, 80)}`} size="xl">
          {one.isPending ? <Waiting /> : one.isError && !one.data ? <Failure error={one.error} again={() => void one.refetch()} /> : <><Text className="note" mb="md" hidden={give}>You may look at this, and not change it.</Text><GrantForm key={edit} fixed={!give} identity={name} id={edit === 'new' ? undefined : edit} grant={grant} onSaved={close} /></>}
        </Modal>
      )}
    </>
  )
}
