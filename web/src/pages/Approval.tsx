import { Alert, Button, Group, Menu, Stack, Text, TextInput, Title } from '@mantine/core'
import { IconChevronDown } from '@tabler/icons-react'
import { useQuery } from '@tanstack/react-query'
import { getRouteApi, Link } from '@tanstack/react-router'
import { useState } from 'react'
import { at, got, POST } from '../api/client'
import { approval, events, identity, useChange } from '../api/queries'
import type { ApprovalView } from '../api/types'
import { useDraft } from '../app/draft'
import { useMay, useMe } from '../app/session'
import { Card, Class, Facts, State, Who } from '../parts/bits'
import { Events } from '../parts/Events'
import { decoded } from '../parts/decoded'
import { plain, Shown } from '../parts/Shown'
import { Await, Empty, Failure } from '../parts/States'
import { When } from '../parts/When'
import { short } from '../parts/words'

const route = getRouteApi('/approvals/$id')

export default function Approval() {
  const { id } = route.useParams()
  const q = useQuery(approval(id))
  if (id.startsWith('task_')) return <Empty title="A task in your name waits for you" action={<Button component="a" href={at(`approvals/${id}`)}>Look at it</Button>} />
  return <Await of={q} lines={8}>{(a) => <Sheet key={a.id} a={a} />}</Await>
}

function Sheet({ a }: { a: ApprovalView }) {
  const name = short(a.identity)
  const who = useQuery({ ...identity(name), retry: false }).data
  const before = useQuery(events({ identity: a.identity, type: 'request', class: 'read', until: a.asked }, 8))
  const open = a.state === 'waiting'
  const [began] = useState(open)
  const [done, setDone] = useState(false)
  return (
    <div style={{ maxWidth: 880 }}>
      <Text size="sm" c="dimmed" mb={4}><Link to="/approvals" className="link">Approvals</Link> /</Text>
      <Group gap="sm" mb="md">
        <Title order={1}>{open ? <>May <Shown text={name} most={60} /> do this?</> : <><Shown text={name} most={60} /> asked to do this</>}</Title>
        {!open && <State of={a.state} />}
      </Group>
      <Stack>
        {began && !open && !done && <Overtaken a={a} />}
        <Card pad label="The question">
          <Facts
            of={[
              ['What', <span key="w"><span className="mono"><Shown text={a.action} /></span> <Class of={a.class} /> on <Link className="link" to="/upstreams/$name" params={{ name: a.upstream }}>{plain(a.upstream, 60)}</Link></span>],
              ['To what', <span key="r" className="mono"><Shown text={a.resource} /></span>],
              ['Who asks', <span key="i"><Who id={a.identity} />{who && <span className="dim">: <Shown text={who.purpose} /> ({who.owner_name || who.owner}’s)</span>}</span>],
              ['For whom', (a.chain ?? []).length > 1 ? <span key="c">{(a.chain ?? []).slice(1).map((l, n) => <span key={l.id}>{n > 0 && ', for '}<Who id={l.id} /></span>)}</span> : <span key="c" className="dim">for itself</span>],
              ...(a.task ? ([['Task', <span key="t" className="mono">{a.task}</span>]] as [string, React.ReactNode][]) : []),
              ['Why it asks', <Shown key="y" text={a.why} />],
              ['Who can answer', <Shown key="a" text={a.who} />],
              [open ? 'Good until' : 'Asked', <span key="u"><When at={open ? a.expires : a.asked} /> (<When at={open ? a.expires : a.asked} as="full" />)</span>],
            ]}
          />
        </Card>
        <Card title="Exactly this would be sent" pad>
          {a.shown ? (
            <>
              <pre className="code" tabIndex={0} aria-label="The request" role="region">
                <b>{a.method} <Shown text={a.shown.target} most={4000} /></b>
                {a.shown.type && <>{'\n'}Content-Type: <Shown text={a.shown.type} /></>}
                {(a.shown.headers ?? []).map((h) => <span key={h}>{'\n'}<Shown text={h} /></span>)}
                {a.shown.binary ? `\n\n(${a.shown.size.toLocaleString()} bytes that are no text, SHA-256 ${a.shown.sha256 ?? ''})` : a.shown.body ? <>{'\n\n'}<Shown text={pretty(a.shown.body)} most={30_000} /></> : null}
              </pre>
              {!a.shown.binary && decoded(a.shown.body ?? '').map((d) => (
                <div key={d.where} style={{ marginTop: 10 }}>
                  <Text size="sm" c="dimmed"><span className="mono"><Shown text={d.where} /></span> is encoded; it says:</Text>
                  <pre className="code" tabIndex={0} role="region" aria-label={`What ${plain(d.where, 60)} says`}><Shown text={d.text} most={10_000} /></pre>
                </div>
              ))}
              {a.shown.cut && <Text className="note rope" mt="sm">This is only the beginning: all of it has {a.shown.size.toLocaleString()} bytes. Approve it only if you know the rest.</Text>}
            </>
          ) : (
            <Text c="dimmed">Only those who may answer are shown what the request holds. You see what it is about, and not its content.</Text>
          )}
          <Text size="xs" c="dimmed" mt="sm">
            A yes is for this very request, SHA-256 <span className="mono">{a.hash}</span>
          </Text>
        </Card>
        <Card title="What it read before">
          <Await of={before} lines={3}>
            {(p) => ((p.items ?? []).length ? <Events of={p.items ?? []} who={false} /> : <Empty title="Nothing">It read nothing before this.</Empty>)}
          </Await>
        </Card>
        {(a.decisions ?? []).length > 0 && (
          <Card title="What was said">
            <div className="rows">
              {(a.decisions ?? []).map((d, n) => (
                <div key={n}>
                  <b>{plain(d.by, 60)}</b> said <span className={d.yes ? 'good' : 'bad'}>{d.yes ? `yes${d.scope === 'task' ? ', for the task' : d.scope === 'lasting' ? ', lasting' : ', once'}` : 'no'}</span> <When at={d.at} />
                  {d.note && <Text size="sm" c="dimmed"><Shown text={d.note} /></Text>}
                </div>
              ))}
            </div>
          </Card>
        )}
        {open && <Answer a={a} name={name} onDone={() => setDone(true)} />}
      </Stack>
    </div>
  )
}

/** Overtaken says that a question was answered while somebody looked at it, and that their own answer was not taken. */
function Overtaken({ a }: { a: ApprovalView }) {
  const me = useMe()
  const [note, , forget] = useDraft(`approval.${a.id}`, { text: '' })
  const last = (a.decisions ?? []).at(-1)
  return (
    <Alert color="yellow" variant="light" role="alert" title={last?.by === me.owner && last ? 'You have answered this elsewhere' : last ? 'Somebody else has answered this' : 'It cannot be answered any more'}>
      <Text size="sm">
        {last ? <>{plain(last.by, 60)} said {last.yes ? 'yes' : 'no'}, <When at={last.at} />. </> : <>It is {a.state}. </>}
        No answer was taken from this page.
      </Text>
      {note.text && <Text size="sm" mt={6}>Your note was not sent: “<Shown text={note.text} />” <Button size="compact-xs" variant="subtle" onClick={forget}>Drop it</Button></Text>}
    </Alert>
  )
}

function Answer({ a, name, onDone }: { a: ApprovalView; name: string; onDone: () => void }) {
  const [note, setNote, forget] = useDraft(`approval.${a.id}`, { text: '' })
  const [stop, setStop] = useState(false)
  const may = useMay()
  const me = useMe()
  const path = { params: { path: { name: a.id } } }
  const say = note.text.trim() ? { note: note.text.trim() } : {}
  const go = useChange(async (how: { yes: boolean; scope?: 'once' | 'task' | 'lasting'; until?: string; kill?: boolean }) => {
    const answered = how.yes
      ? await got(POST('/v1/approvals/{name}/approve', { ...path, body: { scope: how.scope, ...(how.until ? { until: how.until } : {}), ...say } }))
      : await got(POST('/v1/approvals/{name}/deny', { ...path, body: { ...(how.kill ? { kill: true } : {}), ...say } }))
    onDone() // before it is read anew
    forget()
    return answered
  })
  const said = (a.decisions ?? []).some((d) => d.by === me.owner)
  if (said) return <Text className="note">You have said what you think. It waits for the others.</Text>
  if (!may('approve') && !may('deny')) return <Text className="note">You may look at this, and not answer it.</Text>
  const answer = (how: Parameters<typeof go.mutate>[0]) => go.mutate(how)
  return (
    <div className="card answer" role="region" aria-label="Your answer">
      <Stack gap="sm">
        {go.isError && (go.error.status === 409 ? <Alert color="yellow" variant="light" role="alert" title="Somebody was faster"><Shown text={go.error.message} /></Alert> : <Failure error={go.error} />)}
        <TextInput aria-label="A note" placeholder="A note, for who asked and for the record" value={note.text} maxLength={500} onChange={(e) => setNote({ text: e.currentTarget.value })} />
        <Group gap="xs">
          <Button onClick={() => answer({ yes: true, scope: 'once' })} loading={go.isPending}>Approve once</Button>
          {a.task && <Button variant="default" onClick={() => answer({ yes: true, scope: 'task' })} disabled={go.isPending}>For this task</Button>}
          <Menu>
            <Menu.Target>
              <Button variant="default" rightSection={<IconChevronDown size={14} />} disabled={go.isPending}>For a while</Button>
            </Menu.Target>
            <Menu.Dropdown>
              <Menu.Label>It becomes a grant, with an end</Menu.Label>
              {['1d', '7d', '30d'].map((u) => <Menu.Item key={u} onClick={() => answer({ yes: true, scope: 'lasting', until: u })}>{u === '1d' ? '1 day' : `${u.slice(0, -1)} days`}</Menu.Item>)}
            </Menu.Dropdown>
          </Menu>
          <Button variant="default" onClick={() => answer({ yes: false })} disabled={go.isPending}>Deny</Button>
          {stop ? (
            <Button color="rope" ml="auto" onClick={() => answer({ yes: false, kill: true })} disabled={go.isPending}>Yes, deny and pull the cord</Button>
          ) : (
            <Button color="rope" variant="subtle" ml="auto" onClick={() => setStop(true)} disabled={go.isPending} style={{ color: 'var(--rope)' }}>Deny and stop {plain(name, 24)}</Button>
          )}
        </Group>
      </Stack>
    </div>
  )
}

/** pretty breaks compact JSON into lines, when nothing else than space is different then. */
const pretty = (body: string) => {
  try {
    const v = JSON.parse(body) as unknown
    return JSON.stringify(v) === body.trim() ? JSON.stringify(v, null, 2) : body
  } catch {
    return body
  }
}
