// The TypeScript SDK's client, as an agent under lanyard run: it finds its servers in LANYARD_MCP_CONFIG, does what
// argv says, and prints what it saw as JSON. With "command" it starts a server itself; with "asks" it says ASK and an address
// when a person is to open one, and goes on. With "stream" it says PROGRESS when a long call has begun, and goes on
// until it is cut off.
import { readFileSync } from 'node:fs'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js'

const task = JSON.parse(process.argv[2])
const servers = process.env.LANYARD_MCP_CONFIG ? JSON.parse(readFileSync(process.env.LANYARD_MCP_CONFIG, 'utf8')).mcpServers : {}
const seen = {}

async function open(name, { command, asks } = {}) {
  const transport = command ? new StdioClientTransport({ command: command[0], args: command.slice(1), stderr: 'inherit' }) : new StreamableHTTPClientTransport(new URL(servers[name].url), { reconnectionOptions: { maxRetries: 0, initialReconnectionDelay: 1, maxReconnectionDelay: 1, reconnectionDelayGrowFactor: 1 } })
  const client = new Client({ name: 'interop', version: '1' }, asks ? { capabilities: { elicitation: { url: {} } } } : {})
  if (asks) client.setRequestHandler(ElicitRequestSchema, (r) => {
    console.log('ASK ' + r.params.url)
    return { action: 'accept' }
  })
  await client.connect(transport)
  return client
}

const told = async (ask) => {
  try {
    const r = await ask()
    const all = (r.content ?? r.contents ?? r.messages.map((m) => m.content)).map((c) => c.text).join('\n')
    return (r.isError ? 'tool error: ' : '') + all
  } catch (err) {
    return 'error: ' + err.message
  }
}

for (const [name, want] of Object.entries(task.servers ?? {})) {
  const client = await open(name, want)
  seen[name] = { tools: (await client.listTools()).tools.map((t) => t.name), calls: [] }
  for (const [tool, args] of want.calls ?? []) seen[name].calls.push(await told(() => client.callTool({ name: tool, arguments: args })))
  for (const uri of want.resources ?? []) seen[name].calls.push(await told(() => client.readResource({ uri })))
  for (const prompt of want.prompts ?? []) seen[name].calls.push(await told(() => client.getPrompt({ name: prompt })))
  await client.close()
}
if (task.stream) {
  const [name, tool, args] = task.stream
  const client = await open(name)
  const cut = new Promise((done) => { client.onerror = (err) => done(err.message) })
  client.callTool({ name: tool, arguments: args }, undefined, { onprogress: () => console.log('PROGRESS') }).catch(() => {})
  seen.cut = await cut
  seen.after = await told(() => client.callTool({ name: 'echo', arguments: { message: 'x' } }))
}
console.log(JSON.stringify(seen))
process.exit(0)
