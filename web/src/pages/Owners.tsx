import { Text, TextInput } from '@mantine/core'
import { IconSearch } from '@tabler/icons-react'
import { useQuery } from '@tanstack/react-query'
import { getRouteApi, Link } from '@tanstack/react-router'
import { owners } from '../api/queries'
import { Card, Head, State } from '../parts/bits'
import { plain } from '../parts/Shown'
import { Await, Empty } from '../parts/States'
import { count } from '../parts/words'

const route = getRouteApi('/owners')

export default function Owners() {
  const { q = '' } = route.useSearch()
  const navigate = route.useNavigate()
  const all = useQuery(owners)
  return (
    <>
      <Head title="Owners" sub="The people and teams who answer for what acts by itself.">
        <TextInput aria-label="Search owners" placeholder="Name or email" leftSection={<IconSearch size={16} />} value={q} onChange={(e) => { const v = e.currentTarget.value; void navigate({ replace: true, search: v ? { q: v } : {} }) }} />
      </Head>
      <Card label="Owners">
        <Await of={all}>
          {(page) => {
            const list = (page.items ?? []).filter((o) => `${o.id} ${o.name} ${o.email}`.toLowerCase().includes(q.toLowerCase()))
            return list.length === 0 ? (
              <Empty title={q ? 'Nobody is called that' : 'There is no owner yet'}>{q ? undefined : 'Say who is accountable: lanyard owner put NAME, or let your identity provider say it.'}</Empty>
            ) : (
              <div className="rows">
                {list.slice(0, 500).map((o) => (
                  <Link key={o.id} to="/owners/$name" params={{ name: o.id }}>
                    <div style={{ display: 'grid', gridTemplateColumns: 'minmax(0,1fr) auto', gap: 12, alignItems: 'center' }}>
                      <div style={{ minWidth: 0 }}>
                        <Text fw={600}>{plain(o.name || o.id, 80)} {o.team && <Text span size="sm" c="dimmed" fw={400}>team</Text>}</Text>
                        <Text size="sm" c="dimmed" className="clip">{plain(o.email, 100)}{o.backup ? ` · backup ${plain(o.backup, 60)}` : ' · no backup'}</Text>
                      </div>
                      <div style={{ textAlign: 'right' }}>
                        <span className="num">{count(o.identities, 'identity', 'identities')}</span>
                        {o.state === 'gone' && <div><State of={o.state} /></div>}
                      </div>
                    </div>
                  </Link>
                ))}
              </div>
            )
          }}
        </Await>
      </Card>
    </>
  )
}
