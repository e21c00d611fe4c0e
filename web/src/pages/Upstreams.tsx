import { Button, Text } from '@mantine/core'
import { IconX } from '@tabler/icons-react'
import { useQuery } from '@tanstack/react-query'
import { getRouteApi, Link } from '@tanstack/react-router'
import { status, upstreams } from '../api/queries'
import { Card, Head } from '../parts/bits'
import { plain } from '../parts/Shown'
import { Await, Empty } from '../parts/States'
import { count } from '../parts/words'
import { Health } from '../upstream/Health'

const route = getRouteApi('/upstreams')

export default function Upstreams() {
  const { needs } = route.useSearch()
  const q = useQuery(upstreams)
  const more = useQuery({ ...status, retry: false }).data?.upstreams ?? []
  return (
    <>
      <Head title="Upstreams" sub="The systems behind the boundary, and what can be done there.">
        {needs === 'down' && <Button component={Link} to="/upstreams" variant="subtle" color="gray" leftSection={<IconX size={14} />}>Those that are down</Button>}
      </Head>
      <Card label="Upstreams">
        <Await of={q}>
          {(page) => {
            const list = (page.items ?? []).filter((u) => needs !== 'down' || u.down)
            return list.length === 0 && needs ? (
              <Empty title="No upstream is down" action={<Button component={Link} to="/upstreams" variant="default">Show all</Button>} />
            ) : list.length === 0 ? (
              <Empty title="No upstream yet">Name the first system to guard: lanyard upstream put NAME --url …</Empty>
            ) : (
              <div className="rows">
                {list.map((u) => {
                  const s = more.find((m) => m.name === u.name)
                  return (
                    <Link key={u.name} to="/upstreams/$name" params={{ name: u.name }}>
                      <div style={{ display: 'grid', gridTemplateColumns: 'minmax(0,1fr) auto', gap: 12, alignItems: 'center' }}>
                        <div style={{ minWidth: 0 }}>
                          <Text fw={600}>{plain(u.name, 80)} <Text span size="sm" c="dimmed" fw={400}>{u.family}</Text></Text>
                          <Text size="sm" c="dimmed" className="clip">{plain(u.url, 120)} · {count(u.actions, 'action')} · {u.owner_name ? `of ${plain(u.owner_name, 60)}` : 'without an owner'}</Text>
                        </div>
                        <div style={{ textAlign: 'right' }}><Health u={u} s={s} /></div>
                      </div>
                    </Link>
                  )
                })}
              </div>
            )
          }}
        </Await>
      </Card>
    </>
  )
}
