import { Alert, Button, Group, Tabs, Text, TextInput, Title } from '@mantine/core'
import { IconSearch } from '@tabler/icons-react'
import { useQuery } from '@tanstack/react-query'
import { getRouteApi, Link } from '@tanstack/react-router'
import { useState } from 'react'
import { got, POST } from '../api/client'
import { accounts, actions, events, offer, status, upstream as upstreamQuery, useChange } from '../api/queries'
import type { Upstream as View } from '../api/types'
import { useMay, useMayTo } from '../app/session'
import { Card, Class, Facts, OwnerName } from '../parts/bits'
import { Events } from '../parts/Events'
import { plain, Shown } from '../parts/Shown'
import { Await, Empty, Failure, Waiting } from '../parts/States'
import { When } from '../parts/When'
import { count } from '../parts/words'
import { differences } from '../upstream/differences'
import { Health } from '../upstream/Health'

const route = getRouteApi('/upstreams/$name')

export default function Upstream() {
  const { name } = route.useParams()
  return <Await of={useQuery(upstreamQuery(name))} lines={8}>{(u) => <One key={u.name} u={u} />}</Await>
}

function One({ u }: { u: View }) {
  const { tab = 'actions' } = route.useSearch()
  const navigate = route.useNavigate()
  const s = useQuery({ ...status, retry: false }).data?.upstreams?.find((x) => x.name === u.name)
  return (
    <>
      <Text size="sm" c="dimmed" mb={4}><Link to="/upstreams" className="link">Upstreams</Link> /</Text>
      <Group gap="md" mb="md" align="baseline">
        <Title order={1}>{plain(u.name, 80)}</Title>
        <Health u={u} s={s} />
      </Group>
      <div className="two" style={{ marginBottom: 16 }}>
        <Card title="What it is" pad>
          <Facts
            of={[
              ['Owner', u.owner ? <OwnerName key="o" id={u.owner} name={u.owner_name} /> : <span key="o" className="wait">nobody</span>],
              ['Address', <span key="u" className="mono"><Shown text={u.url} /></span>],
              ['Agents call', <span key="a" className="mono"><Shown text={u.audience} /></span>],
              ['Environment', u.environment],
              ['Described by', u.family === 'google' ? `Google: ${plain(u.description, 60)}` : u.family],
              ['Version', `${u.version}`],
            ]}
          />
        </Card>
        <Credential u={u} />
      </div>
      <Tabs value={tab} onChange={(v) => void navigate({ search: { tab: v ?? undefined }, replace: true })} keepMounted={false}>
        <Tabs.List mb="md">
          <Tabs.Tab value="actions">{u.family === 'mcp' ? 'Tool catalogue' : 'What can be done'}</Tabs.Tab>
          {u.family === 'mcp' && <Tabs.Tab value="offer">Pins and differences</Tabs.Tab>}
          <Tabs.Tab value="did">What was done</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="actions"><Actions name={u.name} /></Tabs.Panel>
        <Tabs.Panel value="offer"><Offer u={u} /></Tabs.Panel>
        <Tabs.Panel value="did"><Did name={u.name} /></Tabs.Panel>
      </Tabs>
    </>
  )
}

function Credential({ u }: { u: View }) {
  const may = useMay()
  const list = useQuery({ ...accounts(u.name), enabled: !!u.oauth && may('list-accounts'), retry: false })
  const record = useQuery({ ...events({ type: 'upstream', text: `"name":"${u.name}"` }, 200), retry: false })
  const set = record.data?.items ?? []
  const changed = set.find((e) => e.event.unmapped.type === 'upstream.change' && JSON.stringify(e.event.unmapped.detail ?? {}).includes('credential')) ?? set.find((e) => e.event.unmapped.type === 'upstream.add')
  return (
    <Card title="What opens it" pad>
      {u.oauth ? (
        <>
          <Text mb="xs">{u.oauth.account === 'shared' ? 'The account of its owner serves every agent.' : 'Each owner connects an account of their own.'}</Text>
          {list.isError ? <Failure error={list.error} /> : (list.data?.items ?? []).length === 0 ? (
            <Text c="dimmed">No account is connected.</Text>
          ) : (
            <table className="table">
              <thead><tr><th scope="col">Account of</th><th scope="col">Since</th><th scope="col">Renewed</th></tr></thead>
              <tbody>
                {(list.data?.items ?? []).map((a) => (
                  <tr key={a.owner}>
                    <td><OwnerName id={a.owner} name={a.owner_name} /></td>
                    <td><When at={a.since} /></td>
                    <td>{a.lapsed ? <span className="bad"><Shown text={a.lapsed} /></span> : <When at={a.renewed} />}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
          {u.sign_in && <Button mt="sm" size="xs" variant="default" component="a" href={u.sign_in}>Connect yours</Button>}
        </>
      ) : u.credential ? (
        <Facts of={[['Credential', <span key="c">the gateway has it, in <span className="mono">{u.header ?? 'Authorization'}</span>; no agent ever does</span>], ['Age', changed ? <span key="a">set <When at={changed.event.time} /></span> : <span key="a" className="dim">{record.isPending ? '…' : record.isError ? 'not known: the record could not be read' : 'not on record'}</span>]]} />
      ) : (
        <Text c="dimmed">The gateway has no credential for it.</Text>
      )}
    </Card>
  )
}

function Actions({ name }: { name: string }) {
  const { q = '' } = route.useSearch()
  const navigate = route.useNavigate()
  return (
    <Card
      title="Actions"
      side={<TextInput size="xs" aria-label="Search actions" placeholder="Search" leftSection={<IconSearch size={14} />} value={q} onChange={(e) => { const v = e.currentTarget.value; void navigate({ replace: true, search: ({ cord: _, ...was }) => ({ ...was, q: v || undefined }) }) }} />}
    >
      <Await of={useQuery(actions(name))}>
        {(page) => {
          const list = (page.items ?? []).filter((a) => `${a.name} ${a.class} ${a.summary ?? ''}`.toLowerCase().includes(q.toLowerCase()))
          return list.length === 0 ? <Empty title="Nothing is called that" /> : (
            <div className="rows">
              {list.slice(0, 300).map((a) => (
                <div key={a.name}>
                  <Group gap="xs"><span className="mono" style={{ fontWeight: 600 }}><Shown text={a.name} most={160} /></span><Class of={a.class} /></Group>
                  {a.summary && <Text size="sm" c="dimmed"><Shown text={a.summary} most={300} /></Text>}
                  {a.parameters && Object.keys(a.parameters).length > 0 && <Text size="xs" c="dimmed" className="mono"><Shown text={Object.entries(a.parameters).map(([k, v]) => `${k}: ${v}`).join(', ')} most={240} /></Text>}
                </div>
              ))}
              {list.length > 300 && <Text size="sm" c="dimmed">and {list.length - 300} more; search for them</Text>}
            </div>
          )
        }}
      </Await>
    </Card>
  )
}

function Offer({ u }: { u: View }) {
  const may = useMayTo(u.owner)
  const q = useQuery(offer(u.name, true))
  const approve = useChange((body: { description: string; version: number }) => got(POST('/v1/upstreams/{name}/approve', { params: { path: { name: u.name } }, body })))
  const [read, setRead] = useState<string>() // the offer that was said to be read
  if (q.isPending) return <Waiting />
  if (q.isError) return <Card><Failure error={q.error} again={() => void q.refetch()} /></Card>
  const list = differences(q.data.approved, q.data.now)
  const changed = list.filter((d) => d.what !== 'same')
  const shown = `${q.data.version} ${q.data.now}`
  return (
    <Card title={changed.length ? `${count(changed.length, 'difference')} to what was approved` : 'It offers what was approved'} side={<Button size="compact-sm" variant="default" onClick={() => void q.refetch()} loading={q.isFetching}>Ask it again</Button>}>
      <div className="rows">
        {list.map((d) => (
          <div key={d.kind + d.name}>
            <Group gap="xs">
              <span className={d.what === 'same' ? 'good' : d.what === 'added' ? 'wait' : 'bad'} style={{ fontWeight: 600 }}>{d.what === 'same' ? 'pinned' : d.what}</span>
              <span className="mono" style={{ fontWeight: 600 }}><Shown text={d.name} most={160} /></span>
              <span className="dim">{d.kind}</span>
            </Group>
            {d.what === 'same' && d.description && <Text size="sm" c="dimmed"><Shown text={d.description} most={300} /></Text>}
            {d.fields.map((f) => (
              <div key={f.path} style={{ marginTop: 6 }}>
                <Text size="xs" c="dimmed" className="mono"><Shown text={f.path} /></Text>
                {f.was !== undefined && <Text size="sm" className="bad" style={{ whiteSpace: 'pre-wrap' }}>− <Shown text={f.was} most={1500} /></Text>}
                {f.now !== undefined && <Text size="sm" className="good" style={{ whiteSpace: 'pre-wrap' }}>+ <Shown text={f.now} most={1500} /></Text>}
              </div>
            ))}
          </div>
        ))}
      </div>
      {changed.length > 0 && (
        <div style={{ padding: 16, borderTop: '1px solid var(--line-soft)' }}>
          <Text size="sm" mb="sm">What differs is left out of what clients are told, and cannot be called, until somebody approves it. These texts are the server’s own, and agents will read them: read them first.</Text>
          {approve.isError && <Failure error={approve.error} />}
          {may('approve-offer') && (
            <>
              {read !== undefined && read !== shown && <Alert color="yellow" variant="light" role="alert" mb="sm" title="It offers something else by now">What you read is not what it offers any more. The differences above are the new ones: read those.</Alert>}
              <Button variant={read === shown ? 'filled' : 'default'} loading={approve.isPending} onClick={() => (read === shown ? approve.mutate({ description: q.data.now, version: q.data.version }) : setRead(shown))}>
                {read === shown ? 'Yes, approve exactly this' : 'I have read it; approve'}
              </Button>
            </>
          )}
        </div>
      )}
    </Card>
  )
}

function Did({ name }: { name: string }) {
  return (
    <Card title="The last requests" side={<Link className="link" to="/ledger" search={{ upstream: name } as never}>All in the ledger</Link>}>
      <Await of={useQuery(events({ upstream: name, type: 'request' }, 50))}>
        {(p) => ((p.items ?? []).length ? <Events of={p.items ?? []} /> : <Empty title="Nothing was done here yet" />)}
      </Await>
    </Card>
  )
}
