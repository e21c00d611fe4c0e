import { Button, Group, Modal, Select, Stack, Text, TextInput, Title } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { getRouteApi, Link } from '@tanstack/react-router'
import { useState } from 'react'
import { ask, got, POST } from '../api/client'
import { events, identityPage, owner as ownerQuery, owners, useChange } from '../api/queries'
import type { BulkResult, Owner as View } from '../api/types'
import { useMayTo } from '../app/session'
import { Card, Code, Facts, OwnerName, State } from '../parts/bits'
import { Events } from '../parts/Events'
import { plain, Shown } from '../parts/Shown'
import { Await, Empty, Failure } from '../parts/States'
import { When } from '../parts/When'
import { count } from '../parts/words'

const route = getRouteApi('/owners/$name')

export default function Owner() {
  const { name } = route.useParams()
  return <Await of={useQuery(ownerQuery(name))} lines={8}>{(o) => <One key={o.id} o={o} />}</Await>
}

function One({ o }: { o: View }) {
  const may = useMayTo(o.id)
  const [over, setOver] = useState(false)
  const [code, setCode] = useState(false)
  const owned = useQuery({ queryKey: ['identities', 'of', o.id], queryFn: () => identityPage({ owner: o.id }, 50) })
  return (
    <>
      <Text size="sm" c="dimmed" mb={4}><Link to="/owners" className="link">Owners</Link> /</Text>
      <Group justify="space-between" mb="md">
        <Group gap="sm"><Title order={1}><Shown text={o.name || o.id} most={120} /></Title>{o.state && <State of={o.state} />}</Group>
        <Group gap="xs">
          {may('make-sign-in-code') && !o.team && <Button variant="default" onClick={() => setCode(true)}>Sign-in code</Button>}
          {may('bulk-identities') && o.identities > 0 && <Button variant="default" onClick={() => setOver(true)}>Hand over</Button>}
        </Group>
      </Group>
      <div className="wide">
        <Card title={`Answers for ${count(o.identities, 'identity', 'identities')}`} side={<Link className="link" to="/identities" search={{ owner: o.id } as never}>All of them</Link>}>
          <Await of={owned}>
            {(p) => (p.items ?? []).length === 0 ? <Empty title="Nothing">Nobody’s badge names this owner.</Empty> : (
              <div className="rows">
                {(p.items ?? []).map((i) => (
                  <Link key={i.id} to="/identities/$name" params={{ name: i.name }}>
                    <Group justify="space-between" wrap="nowrap">
                      <div style={{ minWidth: 0 }}><Text fw={580} className="clip">{plain(i.name, 80)}</Text><Text size="sm" c="dimmed" className="clip">{plain(i.purpose, 120)}</Text></div>
                      <State of={i.state} />
                    </Group>
                  </Link>
                ))}
              </div>
            )}
          </Await>
        </Card>
        <Stack>
          <Card title="Who this is" pad>
            <Facts of={[
              ['Email', <Shown key="e" text={o.email} />],
              ['Short name', <span key="i" className="mono">{o.id}</span>],
              ['Backup', o.backup ? <OwnerName key="b" id={o.backup} /> : <span key="b" className="wait">nobody takes over</span>],
              ...((o.members ?? []).length ? ([['Members', <span key="m">{(o.members ?? []).map((m, n) => <span key={m}>{n > 0 && ', '}<OwnerName id={m} /></span>)}</span>]] as [string, React.ReactNode][]) : []),
              ...(o.stopped ? ([['Cord pulled', <When key="s" at={o.stopped} />]] as [string, React.ReactNode][]) : []),
            ]} />
          </Card>
          <Card title="What these did lately" side={<Link className="link" to="/ledger" search={{ owner: o.id } as never}>More</Link>}>
            <Await of={useQuery(events({ owner: o.id, type: 'request' }, 8))}>
              {(p) => ((p.items ?? []).length ? <Events of={p.items ?? []} /> : <Empty title="Nothing on record" />)}
            </Await>
          </Card>
        </Stack>
      </div>
      {over && <HandOver o={o} onClose={() => setOver(false)} />}
      {code && <SignInCode o={o} onClose={() => setCode(false)} />}
    </>
  )
}

function HandOver({ o, onClose }: { o: View; onClose: () => void }) {
  const [to, setTo] = useState<string | null>(o.backup ?? null)
  const [reason, setReason] = useState('')
  const everybody = useQuery(owners)
  const people = everybody.data?.items ?? []
  const body = (preview: boolean) => ({ do: 'transfer', where: { owner: o.id }, owner: to, reason: reason.trim() || undefined, ...(preview ? { preview } : {}) })
  const look = useQuery({ queryKey: ['hand-over', o.id, to], enabled: !!to, retry: false, queryFn: () => ask<BulkResult>('POST', 'v1/identities/bulk', { ...body(true), reason: 'a look' }) })
  const go = useChange(() => ask<BulkResult>('POST', 'v1/identities/bulk', body(false)))
  const list = (go.data ?? look.data)?.identities ?? []
  const wrong = list.filter((i) => i.error)
  return (
    <Modal opened onClose={onClose} title={`Hand over what ${plain(o.name || o.id, 60)} answers for`} size="lg">
      <form onSubmit={(e) => (e.preventDefault(), go.mutate())}>
        <Stack>
          {go.data ? <Text className="good" fw={600} role="status">{count(list.length - wrong.length, 'identity', 'identities')} handed over{wrong.length ? `, ${wrong.length} not` : ''}.</Text> : (
            <>
              <Select label="To whom?" searchable required value={to} onChange={setTo} data={people.filter((p) => p.id !== o.id && p.state !== 'gone').map((p) => ({ value: p.id, label: p.name || p.id }))} />
              <TextInput label="Why?" required value={reason} onChange={(e) => setReason(e.currentTarget.value)} maxLength={500} />
              {look.isError && <Failure error={look.error} />}
              {look.data && <Text role="status">This would hand over {count(list.length - wrong.length, 'identity', 'identities')}{wrong.length ? `; ${wrong.length} cannot be` : ''}.</Text>}
            </>
          )}
          {wrong.slice(0, 20).map((w) => <Text key={w.id} size="sm" className="bad"><Shown text={`${w.id}: ${w.error}`} /></Text>)}
          {go.isError && <Failure error={go.error} />}
          <Group justify="flex-end">
            {go.data ? <Button onClick={onClose}>Close</Button> : <Button type="submit" loading={go.isPending} disabled={!to || !reason.trim() || !look.data}>Hand over</Button>}
          </Group>
        </Stack>
      </form>
    </Modal>
  )
}

function SignInCode({ o, onClose }: { o: View; onClose: () => void }) {
  const make = useChange(() => got(POST('/v1/owners/{name}/sign-in', { params: { path: { name: o.id } } })))
  return (
    <Modal opened onClose={onClose} title={`A sign-in code for ${plain(o.name || o.id, 60)}`}>
      <Stack>
        {make.data ? (
          <>
            <Text>It works once, and is shown this once. Whoever has it is {plain(o.name || o.id, 60)} here until then.</Text>
            <Code text={make.data.code} label="The code" />
            <Text size="sm" c="dimmed">To be entered at <span className="mono">{make.data.url}</span>, until <When at={make.data.expires} as="clock" />.</Text>
          </>
        ) : (
          <>
            <Text>With it {plain(o.name || o.id, 60)} signs in, once, within ten minutes. Give it to nobody else.</Text>
            {make.isError && <Failure error={make.error} />}
            <Group justify="flex-end"><Button onClick={() => make.mutate()} loading={make.isPending}>Make the code</Button></Group>
          </>
        )}
      </Stack>
    </Modal>
  )
}
