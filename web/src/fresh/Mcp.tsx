import { Select, Stack, Tabs, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { status, upstreams } from '../api/queries'
import { useDraft } from '../app/draft'
import { useMe } from '../app/session'
import { Code } from '../parts/bits'
import { Await, Empty } from '../parts/States'
import { FirstCall } from './FirstCall'
import { Step } from './Step'

/** Mcp brings in a client that finds Lanyard by itself: all it needs is an address. */
export function Mcp() {
  const list = useQuery(upstreams)
  const gateway = useQuery(status).data?.gateway_url
  const me = useMe()
  const [draft, set] = useDraft('new.mcp', { upstream: '' })
  const [since] = useState(Date.now)
  return (
    <Await of={list}>
      {(page) => {
        const mcp = (page.items ?? []).filter((u) => u.family === 'mcp' || u.audience?.endsWith('/mcp'))
        if (!mcp.length) return <Empty title="No upstream speaks MCP yet">Put one in front first: lanyard upstream put NAME --url … --mcp catalogue.json</Empty>
        const u = mcp.find((x) => x.name === draft.upstream) ?? (mcp.length === 1 ? mcp[0] : undefined)
        const url = u ? endpoint(u.audience, u.description, gateway, u.name) : ''
        const own = !!u && (u.owner === me.owner || u.consent?.owners?.some((o) => o === '*' || o === me.owner))
        return (
          <>
            <Step n={1} title="Which server?" done={!!u}>
              <Select label="Upstream" data={mcp.map((x) => x.name)} value={u?.name ?? null} onChange={(v) => set({ upstream: v ?? '' })} allowDeselect={false} maw={360} />
              {u && me.owner && !own && <Text size="sm" className="note" mt="sm">You are not among those who may connect a client to {u.name}. Its owner{u.owner_name ? `, ${u.owner_name},` : ''} can let you.</Text>}
            </Step>
            {u && (
              <Step n={2} title="Give the client this">
                <Tabs defaultValue="claude">
                  <Tabs.List mb="sm">
                    <Tabs.Tab value="claude">Claude Code</Tabs.Tab>
                    <Tabs.Tab value="json">Cursor, VS Code and others</Tabs.Tab>
                    <Tabs.Tab value="url">The address alone</Tabs.Tab>
                  </Tabs.List>
                  <Tabs.Panel value="claude"><Code text={`claude mcp add --transport http ${u.name} ${url}`} /></Tabs.Panel>
                  <Tabs.Panel value="json"><Code text={JSON.stringify({ mcpServers: { [u.name]: { type: 'http', url } } }, null, 2)} /></Tabs.Panel>
                  <Tabs.Panel value="url"><Code text={url} /></Tabs.Panel>
                </Tabs>
                <Stack gap={4} mt="md">
                  <Text size="sm">The client opens a page that asks its user: may it use {u.name}, for what, for how long? With a yes it gets an identity of its own, which belongs to that person. It never sees a password or a key of theirs.</Text>
                </Stack>
              </Step>
            )}
            {u && (
              <Step n={3} title="Its first call">
                <FirstCall query={{ upstream: u.name }} since={since} />
              </Step>
            )}
          </>
        )
      }}
    </Await>
  )
}

function endpoint(audience: string, description: string, gateway = '', name: string) {
  let path = '/mcp'
  try {
    path = (JSON.parse(description) as { path?: string }).path ?? path
  } catch {
    // a description of patterns has no path
  }
  return (audience || `${gateway}/${name}`).replace(/\/$/, '') + path
}
