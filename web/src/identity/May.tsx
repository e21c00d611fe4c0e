import { Button, Group, Modal, Text } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { guardrails } from '../api/queries'
import type { Grant, Identity } from '../api/types'
import { useMayGrant } from '../app/session'
import { Card, Code } from '../parts/bits'
import { Shown } from '../parts/Shown'
import { Empty } from '../parts/States'
import { When } from '../parts/When'
import { count, held, may as says } from '../parts/words'
import { Packs } from '../policy/Packs'

/** May is what an identity may do, in plain words, with the Cedar that they mean. */
export function May({ i }: { i: Identity }) {
  const grants = i.grants ?? []
  const give = useMayGrant()
  const [packing, pack] = useDisclosure()
  const holding = useQuery(guardrails)
  const rails = holding.data?.items ?? []
  return (
    <Card
      title={`What ${i.name.slice(0, 40)} may do`}
      side={
        give && i.state !== 'retired' ? (
          <Group gap="xs" wrap="nowrap">
            <Button size="compact-sm" variant="default" onClick={pack.open}>Choose a pack</Button>
            <Button size="compact-sm" variant="default" component={Link} to="/policy" search={{ tab: 'grants', identity: i.name, edit: 'new' } as never}>
              New grant
            </Button>
          </Group>
        ) : undefined
      }
    >
      {packing && (
        <Modal opened onClose={pack.close} title={<>What is <Shown text={i.name} most={60} /> for?</>} size="xl">
          <Packs identity={i.name} had={grants} onDone={pack.close} />
        </Modal>
      )}
      {i.inherits && <Text p="md" pb={0}>All that its parent may at that moment, and no more.</Text>}
      {grants.length === 0 && !i.inherits ? (
        <Empty title="Nothing">No grant allows it anything, so every call is refused.</Empty>
      ) : (
        <div className="rows">
          {grants.map((g) => (
            <GrantRow key={g.id} g={g} />
          ))}
        </div>
      )}
      <Text size="sm" c="dimmed" p="md" pt="sm">
        {rails.length ? (
          <>
            Whatever is granted, {count(rails.length, 'guardrail')} of the whole organisation{' '}
            <Link to="/policy" search={{ tab: 'guardrails' } as never} className="link">
              {rails.length === 1 ? 'holds' : 'hold'}
            </Link>
            .
          </>
        ) : holding.data ? (
          'It never calls an upstream of another environment.'
        ) : holding.isError ? (
          <span role="alert">Which guardrails hold could not be read: {holding.error.message}</span>
        ) : (
          '\u00a0'
        )}
      </Text>
    </Card>
  )
}

export function GrantRow({ g, who, edit = true }: { g: Grant; who?: React.ReactNode; edit?: boolean }) {
  const [open, cedar] = useDisclosure()
  const give = useMayGrant()
  const id = g.id.slice(g.id.indexOf('/') + 1)
  return (
    <div>
      <Group justify="space-between" wrap="nowrap" align="flex-start" gap="sm">
        <div style={{ minWidth: 0 }}>
          <Text fw={540}>
            {who}
            <Shown text={says(g)} />
          </Text>
          <Text size="sm" c="dimmed">
            <span className="mono">{id}</span> · until <When at={g.until} as="day" />
            {g.record ? ` · recorded ${g.record} each call` : ''}
            {g.set ? ` · from the manifest set ${g.set}` : ''}
          </Text>
          {g.layers && <Text size="sm" c="dimmed">{held(g.layers)}</Text>}
        </div>
        <Group gap={4} wrap="nowrap">
          <Button size="compact-sm" variant="subtle" onClick={cedar.toggle} aria-expanded={open}>
            Cedar
          </Button>
          {edit && give && (
            <Button size="compact-sm" variant="subtle" component={Link} to="/policy" search={{ tab: 'grants', edit: g.id } as never}>
              Edit
            </Button>
          )}
        </Group>
      </Group>
      {open && (
        <div style={{ marginTop: 8 }}>
          <Code cedar text={g.cedar ?? ''} label={`Cedar of ${id}`} />
        </div>
      )}
    </div>
  )
}
