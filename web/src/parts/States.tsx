import { Alert, Anchor, Button, Skeleton, Stack, Text, Title } from '@mantine/core'
import { IconAlertTriangle, IconLock, IconPlugConnectedX, IconRefresh } from '@tabler/icons-react'
import type { UseQueryResult } from '@tanstack/react-query'
import { Link, type ErrorComponentProps } from '@tanstack/react-router'
import type { ReactNode } from 'react'
import { Trouble } from '../api/client'
import { Shown } from './Shown'

/** What stands where there is nothing: what that means, and what to do. */
export function Empty({ title, children, action }: { title: string; children?: ReactNode; action?: ReactNode }) {
  return (
    <Stack align="center" gap={6} py={36} px="md" ta="center">
      <Text fw={600}>{title}</Text>
      {children && (
        <Text c="dimmed" size="sm" maw={440}>
          {children}
        </Text>
      )}
      {action && <div style={{ marginTop: 8 }}>{action}</div>}
    </Stack>
  )
}

export function Failure({ error, again }: { error: unknown; again?: () => void }) {
  const t = error instanceof Trouble ? error : new Trouble(-1, error instanceof Error ? error.message : String(error))
  if (t.status === 403)
    return (
      <Stack align="center" gap={6} py={40} ta="center" role="alert">
        <IconLock size={22} className="dim" aria-hidden />
        <Text fw={600}>This is not yours to see or do</Text>
        <Text c="dimmed" size="sm" maw={460}>
          <Shown text={t.message} />
        </Text>
      </Stack>
    )
  if (t.status === 404)
    return (
      <Stack align="center" gap={6} py={40} ta="center" role="alert">
        <Text fw={600}>There is no such thing, or it is not yours to see</Text>
        <Text c="dimmed" size="sm" maw={460}>
          <Shown text={t.message} />
        </Text>
      </Stack>
    )
  const away = t.status === 0
  return (
    <Alert
      m="sm"
      role="alert"
      color={away ? 'yellow' : 'red'}
      variant="light"
      icon={away ? <IconPlugConnectedX size={18} /> : <IconAlertTriangle size={18} />}
      title={away ? 'The control plane is away' : 'That did not work'}
    >
      <Stack gap={8} align="flex-start">
        <Text size="sm">
          <Shown text={t.message} />
        </Text>
        {t.details.map((d, i) => (
          <Text size="sm" key={i}>
            <span className="mono">{d.location?.replace(/^body\./, '')}</span> <Shown text={d.message ?? ''} />
          </Text>
        ))}
        {t.mistakes.map((m, i) => (
          <Text size="sm" key={i} className="mono">
            <Shown text={`${m.file ?? ''}${m.line ? ':' + m.line : ''} ${m.text ?? ''}`} />
          </Text>
        ))}
        {again && (
          <Button size="xs" variant="default" leftSection={<IconRefresh size={14} />} onClick={again}>
            Try again
          </Button>
        )}
      </Stack>
    </Alert>
  )
}

/** unread says of a list to choose from that it could not be read: an empty one would say that there is nothing. */
export const unread = (q: { isError: boolean; data?: unknown; error: Error | null }) =>
  q.isError && q.data === undefined ? `This list could not be read: ${q.error?.message ?? 'it did not work.'} Load the page again.` : undefined

export function Waiting({ lines = 4 }: { lines?: number }) {
  return (
    <Stack gap={10} p="md" role="status" aria-label="Loading">
      {Array.from({ length: lines }, (_, i) => (
        <Skeleton key={i} height={14} width={`${92 - ((i * 17) % 40)}%`} radius="sm" />
      ))}
    </Stack>
  )
}

/** Await shows what was asked for; that it is on its way; or what is in the way. What was there before stays, with a word that it is old. */
export function Await<T>({ of, lines, children }: { of: UseQueryResult<T, Error>; lines?: number; children: (v: T) => ReactNode }) {
  if (of.data === undefined) return of.isError ? <Failure error={of.error} again={() => void of.refetch()} /> : <Waiting lines={lines} />
  return (
    <>
      {of.isError && (
        <Text size="sm" className="note" m="sm" role="status">
          This is as it was a moment ago: {of.error.message}{' '}
          <Anchor component="button" size="sm" onClick={() => void of.refetch()}>
            Try again
          </Anchor>
        </Text>
      )}
      {children(of.data)}
    </>
  )
}

export function Nowhere() {
  return (
    <Empty title="There is no page here" action={<Button component={Link} to="/" variant="default">Go home</Button>}>
      The address may be from another version, or mistyped.
    </Empty>
  )
}

export function Broken({ error, reset }: ErrorComponentProps) {
  return (
    <Stack p="lg" maw={640} mx="auto">
      <Title order={1}>The page broke</Title>
      <Failure error={error} again={reset} />
    </Stack>
  )
}
