import { SegmentedControl, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { getRouteApi, Link } from '@tanstack/react-router'
import { at } from '../api/client'
import { approvals } from '../api/queries'
import type { ApprovalView } from '../api/types'
import { Card, Class, Head, State } from '../parts/bits'
import { plain, Shown } from '../parts/Shown'
import { Await, Empty } from '../parts/States'
import { When } from '../parts/When'
import { short } from '../parts/words'

const route = getRouteApi('/approvals')

export default function Approvals() {
  const { state = 'waiting' } = route.useSearch()
  const navigate = route.useNavigate()
  const q = useQuery(approvals(state === 'all' ? '' : state))
  return (
    <>
      <Head title="Approvals" sub="What agents want to do and may not without somebody’s yes.">
        <SegmentedControl
          size="xs"
          aria-label="Which"
          value={state}
          onChange={(v) => void navigate({ search: v === 'waiting' ? {} : { state: v } })}
          data={[{ value: 'mine', label: 'For me' }, { value: 'waiting', label: 'Waiting' }, { value: 'approved', label: 'Approved' }, { value: 'denied', label: 'Denied' }, { value: 'all', label: 'All' }]}
        />
      </Head>
      <Card label="Approvals">
        <Await of={q}>
          {(page) =>
            (page.items ?? []).length === 0 ? (
              <Empty title={state === 'waiting' || state === 'mine' ? `Nothing waits for ${state === 'mine' ? 'you' : 'an answer'}` : 'There is none'}>
                {state === 'waiting' || state === 'mine' ? 'When a grant or a guardrail asks for a yes, the question shows here, and those who may answer get a mail.' : undefined}
              </Empty>
            ) : (
              <div className="rows">{(page.items ?? []).map((a) => <Row key={a.id} a={a} />)}</div>
            )
          }
        </Await>
      </Card>
      {(q.data?.items?.length ?? 0) >= 1000 && <Text size="sm" c="dimmed" mt="sm">These are the newest 1,000.</Text>}
      <Text size="sm" c="dimmed" mt="sm">
        Tasks in your name that wait for you are at <a className="link" href={at('approvals')}>your approvals page</a>.
      </Text>
    </>
  )
}

function Row({ a }: { a: ApprovalView }) {
  return (
    <Link to="/approvals/$id" params={{ id: a.id }}>
      <div style={{ display: 'grid', gridTemplateColumns: 'minmax(0,1fr) auto', gap: 12, alignItems: 'center' }}>
        <div style={{ minWidth: 0 }}>
          <div style={{ display: 'flex', gap: 8, alignItems: 'center', flexWrap: 'wrap' }}>
            <b style={{ fontWeight: 600 }}><Shown text={short(a.identity)} most={60} link /></b>
            <span>wants to <span className="mono"><Shown text={a.action} most={100} link /></span> on {plain(a.upstream, 40)}</span>
            <Class of={a.class} />
          </div>
          <div className="dim clip" style={{ fontSize: 12.5 }}>
            <span className="mono">{plain(a.resource, 120)}</span> · for {plain(a.who, 60)}
          </div>
        </div>
        <div style={{ textAlign: 'right', fontSize: 12.5 }}>
          {a.state === 'waiting' ? <span className="wait">until <When at={a.expires} as="clock" /></span> : <State of={a.state} />}
          <div className="dim"><When at={a.asked} /></div>
        </div>
      </div>
    </Link>
  )
}
