import { Button, Group, Stack, Text, Title } from '@mantine/core'
import { IconCircleCheck, IconCircleX, IconDownload } from '@tabler/icons-react'
import { useMutation, useQuery } from '@tanstack/react-query'
import { getRouteApi, Link } from '@tanstack/react-router'
import { GET, got, type Schemas } from '../api/client'
import { proof } from '../api/queries'
import type { Leaf } from '../api/types'
import { verify } from '../ledger/verify'
import { Card, Class, Code, Facts, State, Who } from '../parts/bits'
import { Shown } from '../parts/Shown'
import { Await } from '../parts/States'
import { When } from '../parts/When'
import { did, instant } from '../parts/words'

const route = getRouteApi('/ledger/$id')

export default function Event() {
  const { id } = route.useParams()
  return <Await of={useQuery(proof(id))} lines={8}>{(p) => <One p={p} />}</Await>
}

function One({ p }: { p: Schemas['Inclusion'] }) {
  const e = JSON.parse(p.leaf) as Leaf
  const u = e.unmapped
  const rows: [string, React.ReactNode][] = [
    ['Who', <Who key="w" id={e.actor.user.uid} />],
    ...((u.chain ?? []).length > 1 ? ([['For', <span key="c">{(u.chain ?? []).slice(1).map((c, n) => <span key={c}>{n > 0 && ', for '}<Who id={c} /></span>)}</span>]] as [string, React.ReactNode][]) : []),
    ['What', <span key="a"><span className="mono"><Shown text={e.api.operation || u.type} /></span> <Class of={u.class} /></span>],
    ...(e.api.service.name ? ([['On', <Link key="s" className="link" to="/upstreams/$name" params={{ name: e.api.service.name }}>{e.api.service.name}</Link>]] as [string, React.ReactNode][]) : []),
    ...(e.resources?.length ? ([['To what', <span key="r" className="mono"><Shown text={e.resources.map((r) => r.name).join(', ')} /></span>]] as [string, React.ReactNode][]) : []),
    ['Outcome', <State key="o" of={u.outcome} />],
    ...(e.status_detail ? ([['Why', <Shown key="y" text={e.status_detail} />]] as [string, React.ReactNode][]) : []),
    ...((u.policies ?? []).length ? ([['Decided by', <span key="p" className="mono">{(u.policies ?? []).join(', ')}</span>]] as [string, React.ReactNode][]) : []),
    ['When', <span key="t"><When at={instant(e)} as="full" /> (<When at={e.time} />)</span>],
    ...(u.owner ? ([['Owner', <Link key="ow" className="link" to="/owners/$name" params={{ name: u.owner }}>{u.owner}</Link>]] as [string, React.ReactNode][]) : []),
    ...(u.gateway ? ([['Seen by', u.gateway]] as [string, React.ReactNode][]) : []),
    ...(e.src_endpoint.ip ? ([['From', <span key="ip" className="mono">{e.src_endpoint.ip}</span>]] as [string, React.ReactNode][]) : []),
    ...(e.api.response ? ([['Reply', `HTTP ${e.api.response.code}${u.duration_us ? `, after ${(u.duration_us / 1000).toFixed(1)} ms` : ''}`]] as [string, React.ReactNode][]) : []),
    ...Object.entries(u.detail ?? {}).map(([k, v]) => [k.replace(/_/g, ' '), <Shown key={k} text={v} />] as [string, React.ReactNode]),
  ]
  return (
    <>
      <Text size="sm" c="dimmed" mb={4}><Link to="/ledger" className="link">Ledger</Link> / event {p.index.toLocaleString()}</Text>
      <Group gap="sm" mb="md">
        <Title order={1}><Who id={e.actor.user.uid} /> <span style={{ fontWeight: 500 }}><Shown text={did(e)} most={160} /></span></Title>
        <State of={u.outcome} />
      </Group>
      <div className="wide">
        <Stack>
          <Card title="What happened" pad><Facts of={rows} /></Card>
          <Card title="As it is recorded" pad><Code text={JSON.stringify(e, null, 2)} label="The event, OCSF" /></Card>
        </Stack>
        <Proof p={p} id={e.metadata.uid} />
      </div>
      {e.api.request.uid && u.type !== 'request' && (
        <Text mt="md" size="sm"><Link className="link" to="/ledger" search={{ text: e.api.request.uid } as never}>All of the same request</Link></Text>
      )}
    </>
  )
}

function Proof({ p, id }: { p: Schemas['Inclusion']; id: string }) {
  const check = useMutation({ mutationFn: async () => verify(p, (await got(GET('/v1/ledger/key'))).key) })
  const v = check.data
  const save = () => {
    const url = URL.createObjectURL(new Blob([JSON.stringify(p, null, 2)], { type: 'application/json' }))
    const a = document.createElement('a')
    a.href = url
    a.download = `${id || `event-${p.index}`}.proof.json`
    a.click()
    URL.revokeObjectURL(url)
  }
  return (
    <Card title="Its proof" pad>
      <Stack>
        <Text size="sm" c="dimmed">{(p.proof ?? []).length} hashes lead from this event to the root of the ledger, which is signed. Your browser computes them again; the server is not asked to say whether they are right.</Text>
        <Group gap="xs">
          <Button onClick={() => check.mutate()} loading={check.isPending}>Verify here</Button>
          <Button variant="default" leftSection={<IconDownload size={16} />} onClick={save}>Take the proof</Button>
        </Group>
        {check.isError && (
          <Group gap={8} wrap="nowrap" role="alert" className="bad"><IconCircleX size={20} aria-hidden /><Text fw={600}>Not verified: {check.error.message}.</Text></Group>
        )}
        {v && (
          <div role="status">
            <Group gap={8} wrap="nowrap" className="good"><IconCircleCheck size={20} aria-hidden /><Text fw={600}>This is what was recorded.</Text></Group>
            <Facts of={[
              ['Event', `${p.index.toLocaleString()} of ${v.size.toLocaleString()}`],
              ['Hashes', `${v.steps} computed here`],
              ['Root', <span key="r" className="mono">{v.root}</span>],
              ['Signature', v.signed === true ? <span key="s" className="good">of {v.origin}, Ed25519, good</span> : <span key="s" className="wait">not checked: this browser has no Ed25519</span>],
            ]} />
          </div>
        )}
        <details>
          <summary style={{ cursor: 'pointer' }}>The signed checkpoint</summary>
          <Code text={p.checkpoint} />
        </details>
      </Stack>
    </Card>
  )
}
