import { Button, Group, Switch, Text } from '@mantine/core'
import { IconPlus } from '@tabler/icons-react'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { at } from '../api/client'
import { home } from '../api/queries'
import { useMay, useMe } from '../app/session'
import { useLive } from '../app/stream'
import { Card, Head } from '../parts/bits'
import { Events } from '../parts/Events'
import { count } from '../parts/words'
import { Await, Empty, Failure, Waiting } from '../parts/States'

type Tile = { n: number; of: string; to?: string; href?: string; search?: Record<string, string>; now?: boolean }

export default function Home() {
  const me = useMe()
  const may = useMay()
  const q = useQuery(home)
  return (
    <>
      <Head title={greeting(me.name)} sub={me.owner && !me.roles.some((r) => r !== 'owner') ? 'This is about what is yours.' : 'This is about everything that you may see.'}>
        {may('put-identity') && (
          <Button component={Link} to="/new" leftSection={<IconPlus size={16} />}>
            New agent
          </Button>
        )}
      </Head>
      <Await of={q} lines={6}>
        {(h) => {
          const needs: Tile[] = [
            { n: h.approvals, of: h.approvals === 1 ? 'approval waits' : 'approvals wait', to: '/approvals', search: { state: 'mine' }, now: true },
            ...(h.tasks ? [{ n: h.tasks, of: h.tasks === 1 ? 'task waits in your name' : 'tasks wait in your name', href: at('approvals'), now: true }] : []),
            { n: h.odd, of: h.odd === 1 ? 'behaves oddly' : 'behave oddly', to: '/identities', search: { needs: 'odd' }, now: true },
            { n: h.ownerless, of: 'without a working owner', to: '/identities', search: { needs: 'ownerless' }, now: true },
            { n: h.expiring, of: h.expiring === 1 ? 'is about to expire' : 'are about to expire', to: '/identities', search: { needs: 'expiring', sort: 'expires' } },
            { n: h.unused, of: h.unused === 1 ? 'is not used' : 'are not used', to: '/identities', search: { needs: 'unused', sort: 'last_used' } },
            { n: h.upstreams_down, of: h.upstreams_down === 1 ? 'upstream is down' : 'upstreams are down', to: '/upstreams', search: { needs: 'down' }, now: true },
          ]
          const quiet = needs.every((t) => t.n === 0)
          return (
            <>
              <section aria-label="What needs you now" style={{ marginBottom: 16 }}>
                <Group justify="space-between" mb={8}>
                  <Text fw={600}>What needs you now</Text>
                  {quiet && (
                    <Text size="sm" className="good">
                      Nothing. All is calm.
                    </Text>
                  )}
                </Group>
                <div className="tiles">
                  {needs.map((t) => <One key={t.of} {...t} />)}
                </div>
              </section>
              <section aria-label="Today" style={{ marginBottom: 16 }}>
                <Text fw={600} mb={8}>
                  What your agents did in the last 24 hours
                </Text>
                <div className="tiles">
                  <One n={h.today.requests} of={`${h.today.requests === 1 ? 'request' : 'requests'} by ${count(h.today.identities, 'identity', 'identities')}`} to="/ledger" search={{ type: 'request', by: 'identity', outcome: 'ended', since: h.since }} />
                  <One n={h.today.refused} of="of them refused" to="/ledger" search={{ type: 'request', by: 'identity', outcome: 'refused', since: h.since }} />
                </div>
              </section>
            </>
          )
        }}
      </Await>
      <Live />
    </>
  )
}

function One({ n, of, to, href, search, now }: Tile) {
  const look = `card tile ${n === 0 ? 'quiet' : now ? 'now' : ''}`
  const inside = (
    <>
      <div className="n">{n.toLocaleString()}</div>
      <Text size="sm" c="dimmed">
        {of}
      </Text>
    </>
  )
  return href ? <a href={href} className={look}>{inside}</a> : <Link to={to} search={search as never} className={look}>{inside}</Link>
}

function Live() {
  const [requests, setRequests] = useState(false)
  const { list, live, error, fresh, again } = useLive(requests ? { type: 'request' } : {}, 20)
  return (
    <Card
      title="Live activity"
      side={
        <Group gap="md">
          <Switch size="xs" label="Requests only" checked={requests} onChange={(e) => setRequests(e.currentTarget.checked)} />
          <Text size="sm" c="dimmed" role="status" component="span">
            <span className={`dot ${live === 'live' ? 'good' : 'wait'}`} aria-hidden style={{ marginRight: 6 }} />
            {live === 'live' ? 'live' : live === 'away' ? 'not live, trying again' : 'connecting'}
          </Text>
          {live === 'away' && <Button size="compact-xs" variant="default" onClick={again}>Try now</Button>}
        </Group>
      }
    >
      {error && <Failure error={error} again={again} />}
      {!list ? error ? null : <Waiting lines={6} /> : list.length ? <Events of={list} fresh={fresh} /> : (
        <Empty title="Nothing has happened yet">What your agents do shows here as they do it.</Empty>
      )}
    </Card>
  )
}

function greeting(name: string) {
  const h = new Date().getHours()
  const first = name.split(/\s+/)[0]?.slice(0, 30) ?? ''
  return `Good ${h < 5 ? 'night' : h < 12 ? 'morning' : h < 18 ? 'afternoon' : 'evening'}, ${first}`
}
