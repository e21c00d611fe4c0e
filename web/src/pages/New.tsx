import { SimpleGrid, Text, UnstyledButton } from '@mantine/core'
import { IconFileImport, IconKey, IconPlugConnected } from '@tabler/icons-react'
import { getRouteApi } from '@tanstack/react-router'
import { Import } from '../fresh/Import'
import { Mcp } from '../fresh/Mcp'
import { Service } from '../fresh/Service'
import { useMay } from '../app/session'
import { Head } from '../parts/bits'
import { Empty } from '../parts/States'

const route = getRouteApi('/new')
const ways = [
  { id: 'mcp', icon: IconPlugConnected, title: 'A client that speaks MCP', text: 'Claude, Cursor, VS Code: give it an address. It signs its user in, and gets an identity of its own.' },
  { id: 'key', icon: IconKey, title: 'A service with a key', text: 'An agent of yours, with a key pair or an API key, and grants that you choose now.' },
  { id: 'import', icon: IconFileImport, title: 'An import of manifests', text: 'YAML that says who there is. You see the plan before anything changes.' },
] as const

export default function New() {
  const { way } = route.useSearch()
  const may = useMay()
  const navigate = route.useNavigate()
  if (!may('put-identity')) return <Empty title="You may not make agents">An operator or an administrator can, or can give you a role that may. To connect a client of your own, give it the address of an upstream: it brings you to a page that asks you.</Empty>
  return (
    <div style={{ maxWidth: 860 }}>
      <Head title="New agent" sub="How does it come in?" />
      <SimpleGrid cols={{ base: 1, sm: 3 }} mb="lg" role="radiogroup" aria-label="How does it come in?">
        {ways.map((w) => (
          <UnstyledButton
            key={w.id}
            className="card"
            p="md"
            role="radio"
            aria-checked={way === w.id}
            onClick={() => void navigate({ search: { way: w.id } })}
            style={{ display: 'flex', flexDirection: 'column', alignItems: 'flex-start', textAlign: 'left', ...(way === w.id ? { borderColor: 'var(--link)', boxShadow: '0 0 0 1px var(--link)' } : {}) }}
          >
            <w.icon size={22} stroke={1.6} className="dim" aria-hidden />
            <Text fw={600} mt={6}>{w.title}</Text>
            <Text size="sm" c="dimmed" mt={2}>{w.text}</Text>
          </UnstyledButton>
        ))}
      </SimpleGrid>
      {way === 'mcp' && <Mcp />}
      {way === 'key' && <Service />}
      {way === 'import' && <Import />}
    </div>
  )
}
