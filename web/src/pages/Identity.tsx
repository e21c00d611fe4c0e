import { Button, Group, Menu, Tabs, Text, Title } from '@mantine/core'
import { IconDots } from '@tabler/icons-react'
import { useQuery } from '@tanstack/react-query'
import { getRouteApi, Link } from '@tanstack/react-router'
import { lazy, Suspense, useState } from 'react'
import { identity as identityQuery } from '../api/queries'
import type { Identity as View } from '../api/types'
import { useMayTo } from '../app/session'
import { Change, type Doing } from '../identity/Change'
import { Credentials } from '../identity/Credentials'
import { History } from '../identity/History'
import { May } from '../identity/May'
import { OwnerName, Facts, State, Card, Who } from '../parts/bits'
import { Shown } from '../parts/Shown'
import { Await, Waiting } from '../parts/States'
import { When } from '../parts/When'
import { who } from '../parts/words'

const Timeline = lazy(() => import('../identity/Timeline'))
const Graph = lazy(() => import('../identity/Graph'))
const route = getRouteApi('/identities/$name')

export default function Identity() {
  const { name } = route.useParams()
  return <Await of={useQuery(identityQuery(name))} lines={10}>{(i) => <Detail key={i.id} i={i} />}</Await>
}

function Detail({ i }: { i: View }) {
  const { tab = 'may' } = route.useSearch()
  const navigate = route.useNavigate()
  const may = useMayTo(i.owner)
  const [doing, setDoing] = useState<Doing>()
  const can: [Doing, boolean][] = [
    ['activate', i.state === 'pending' && may('activate-identity')],
    ['resume', i.state === 'suspended' && may('resume-identity')],
    ['restore', i.state === 'killed' && may('restore')],
    ['suspend', i.state === 'active' && may('suspend-identity')],
    ['renew', ['active', 'expired', 'suspended'].includes(i.state) && may('renew-identity')],
    ['hand over', i.state !== 'retired' && !i.parent && may('put-identity')],
    ['retire', i.state !== 'retired' && may('retire-identity')],
  ]
  const now = can.filter(([, yes]) => yes).map(([d]) => d)
  const first = now.find((d) => d === 'resume' || d === 'restore' || d === 'activate')
  return (
    <>
      <Text size="sm" c="dimmed" mb={4}>
        <Link to="/identities" className="link">
          Identities
        </Link>{' '}
        /
      </Text>
      <Group justify="space-between" align="flex-start" mb="md" wrap="wrap">
        <div style={{ flex: '1 1 360px', minWidth: 0 }}>
          <Group gap="sm" align="center">
            <Title order={1}>
              <Shown text={i.name} most={120} />
            </Title>
            <State of={i.state} />
          </Group>
          <Text mt={4} size="lg" style={{ maxWidth: 760 }}>
            <Shown text={who(i)} />
          </Text>
          {!i.usable && i.why && (
            <Text mt={8} className="note rope" style={{ maxWidth: 760 }}>
              It cannot act: <Shown text={i.why} />.
            </Text>
          )}
        </div>
        <Group gap="xs">
          {first && <Button variant="default" onClick={() => setDoing(first)}>{first[0]!.toUpperCase() + first.slice(1)}</Button>}
          {now.length > (first ? 1 : 0) && (
            <Menu position="bottom-end">
              <Menu.Target>
                <Button variant="default" leftSection={<IconDots size={16} />}>
                  Change
                </Button>
              </Menu.Target>
              <Menu.Dropdown>
                {now
                  .filter((d) => d !== first)
                  .map((d) => (
                    <Menu.Item key={d} onClick={() => setDoing(d)}>
                      {d[0]!.toUpperCase() + d.slice(1)}…
                    </Menu.Item>
                  ))}
              </Menu.Dropdown>
            </Menu>
          )}
        </Group>
      </Group>
      {doing && <Change i={i} doing={doing} onClose={() => setDoing(undefined)} />}
      <div className="two" style={{ marginBottom: 16 }}>
        <Card title="Who answers for it" pad>
          <Facts
            of={[
              ['Owner', <OwnerName key="o" id={i.owner} name={i.owner_name} />],
              ['Backup', i.backup ? <OwnerName key="b" id={i.backup} /> : <span key="b" className="dim">the owner’s own backup</span>],
              ...(i.parent ? ([['Started by', <Who key="p" id={i.parent.id} />]] as [string, React.ReactNode][]) : []),
              ...(i.client ? ([['Client', <Shown key="c" text={`${i.client.name}, connected by ${i.client.person}`} />]] as [string, React.ReactNode][]) : []),
              ['Name everywhere', <span key="id" className="mono"><Shown text={i.id} /></span>],
            ]}
          />
        </Card>
        <Card title="Its clock" pad>
          <Facts
            of={[
              ['State', <State key="s" of={i.state} />],
              ['Made', <When key="m" at={i.created} />],
              ['Last used', <When key="u" at={i.last_used} />],
              ['Stops by itself', <span key="e"><When at={i.expires} />, <When at={i.expires} as="day" /></span>],
              ...(i.children ? ([['May start', `${i.children.at_once} at once, ${i.children.depth} deep; ${i.living_children ?? 0} are alive`]] as [string, React.ReactNode][]) : []),
              ...(i.tasks ? ([['Tasks', 'It acts under tasks alone.']] as [string, React.ReactNode][]) : []),
            ]}
          />
        </Card>
      </div>
      <Tabs value={tab} onChange={(v) => void navigate({ search: { tab: v ?? undefined }, replace: true })} keepMounted={false}>
        <Tabs.List mb="md" style={{ flexWrap: 'nowrap', overflowX: 'auto' }}>
          <Tabs.Tab value="may">What it may do</Tabs.Tab>
          <Tabs.Tab value="did">What it did</Tabs.Tab>
          <Tabs.Tab value="chain">Its chain</Tabs.Tab>
          <Tabs.Tab value="credentials">Credentials</Tabs.Tab>
          <Tabs.Tab value="history">History</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="may"><May i={i} /></Tabs.Panel>
        <Tabs.Panel value="did"><Suspense fallback={<Waiting />}><Timeline i={i} /></Suspense></Tabs.Panel>
        <Tabs.Panel value="chain"><Suspense fallback={<Waiting />}><Graph i={i} /></Suspense></Tabs.Panel>
        <Tabs.Panel value="credentials"><Credentials i={i} /></Tabs.Panel>
        <Tabs.Panel value="history"><History i={i} /></Tabs.Panel>
      </Tabs>
    </>
  )
}
