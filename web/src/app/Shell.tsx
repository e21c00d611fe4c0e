import { ActionIcon, AppShell, Avatar, Badge, Burger, Button, Group, Menu, Modal, Text, useMantineColorScheme, VisuallyHidden } from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import {
  IconArrowsExchange, IconBook2, IconChecklist, IconDeviceDesktop, IconFingerprint, IconHome, IconMoon, IconScale, IconServer2, IconSun, IconUsers,
} from '@tabler/icons-react'
import { useMutation, useQuery } from '@tanstack/react-query'
import { Link, Outlet, useNavigate, useRouterState, useSearch } from '@tanstack/react-router'
import { lazy, Suspense, useEffect } from 'react'
import { apiBase } from '../api/client'
import { home } from '../api/queries'
import type { Me } from '../api/types'
import { Failure, Waiting } from '../parts/States'
import { plain } from '../parts/Shown'
import { Mark } from '../parts/Mark'
import { Away } from './Away'
import { arrives, Signed, signOut, useSession } from './session'

const Cord = lazy(() => import('../cord/Cord'))

export function Shell() {
  const session = useSession()
  const signIn = useRouterState({ select: (s) => s.matches.at(-1)?.routeId === '/sign-in' })
  const going = useRouterState({ select: (s) => s.location.pathname.endsWith('/sign-in') })
  const navigate = useNavigate()
  const href = useRouterState({ select: (s) => s.location.href })
  useEffect(() => {
    if (session.data === null && !going) void navigate({ to: '/sign-in', search: { to: href }, replace: true })
  }, [session.data, going, navigate, href])
  const other = !signIn && !!session.data && !arrives(session.data)
  useEffect(() => {
    if (other) window.location.reload() // somebody else has signed in: everything begins anew
  }, [other])
  if (signIn) return <Outlet />
  if (other) return <Waiting />
  if (session.data) return <Signed me={session.data}><Frame me={session.data} /></Signed>
  return session.isError ? <Failure error={session.error} again={() => void session.refetch()} /> : <Waiting />
}

const places = [
  { to: '/', label: 'Home', icon: IconHome, exact: true },
  { to: '/approvals', label: 'Approvals', icon: IconChecklist },
  { to: '/identities', label: 'Identities', icon: IconFingerprint },
  { to: '/policy', label: 'Policy', icon: IconScale },
  { to: '/ledger', label: 'Ledger', icon: IconBook2 },
  { to: '/upstreams', label: 'Upstreams', icon: IconServer2 },
  { to: '/owners', label: 'Owners', icon: IconUsers },
  { to: '/gateways', label: 'Gateways', icon: IconArrowsExchange, needs: 'list-gateways' },
] as const

function Frame({ me }: { me: Me }) {
  const [open, nav] = useDisclosure()
  const path = useRouterState({ select: (s) => s.location.pathname })
  const { cord } = useSearch({ from: '__root__' })
  useEffect(nav.close, [path]) // eslint-disable-line
  const waiting = useQuery(home).data?.approvals ?? 0
  return (
    <AppShell header={{ height: 52 }} navbar={{ width: 212, breakpoint: 'sm', collapsed: { mobile: !open } }}>
      <a href="#main" className="skip" onClick={(e) => (e.preventDefault(), document.getElementById('main')?.focus())}>
        Skip to the page
      </a>
      <AppShell.Header className="bar">
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Group gap="sm" wrap="nowrap">
            <Burger opened={open} onClick={nav.toggle} hiddenFrom="sm" size="sm" aria-label={open ? 'Close the menu' : 'Open the menu'} />
            <Link to="/" className="brand">
              <Mark size={20} color="var(--rope)" />
              Lanyard
            </Link>
          </Group>
          <Group gap="xs" wrap="nowrap">
            <Pull />
            <PersonMenu me={me} />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar className="nav" p="sm" aria-label="Main">
        {places.filter((p) => !('needs' in p) || me.may.includes(p.needs)).map((p) => (
          <Link key={p.to} to={p.to} activeOptions={{ exact: 'exact' in p, includeSearch: false }} activeProps={{ className: 'active' }}>
            <p.icon size={18} stroke={1.7} aria-hidden />
            {p.label}
            {p.to === '/approvals' && waiting > 0 && (
              <Badge className="count" size="sm" circle={waiting < 10} color="rope" variant="filled" aria-label={`${waiting} waiting`}>
                {waiting}
              </Badge>
            )}
          </Link>
        ))}
      </AppShell.Navbar>
      <AppShell.Main>
        <Away />
        <main className="main" id="main" tabIndex={-1} style={{ outline: 'none' }}>
          <Outlet />
        </main>
      </AppShell.Main>
      {cord && (
        <Suspense>
          <Cord />
        </Suspense>
      )}
    </AppShell>
  )
}

/** What the page is about, so that the cord begins with it. */
function subject(path: string): string {
  const m = /\/(identities|owners|upstreams)\/([^/]+)$/.exec(path)
  const noun = { identities: 'identity', owners: 'owner', upstreams: 'upstream' }[m?.[1] ?? '']
  return noun && m?.[2] ? `${noun}:${decodeURIComponent(m[2])}` : 'choose'
}

function Pull() {
  const path = useRouterState({ select: (s) => s.location.pathname })
  const navigate = useNavigate()
  return (
    <Button
      color="rope"
      size="xs"
      h={32}
      leftSection={<Mark size={15} />}
      onClick={() => void navigate({ to: '.', search: (s: Record<string, unknown>) => ({ ...s, cord: subject(path) }) as never })}
    >
      Pull the cord
    </Button>
  )
}

function PersonMenu({ me }: { me: Me }) {
  const { colorScheme, setColorScheme } = useMantineColorScheme()
  const schemes = [
    ['light', 'Light', IconSun],
    ['dark', 'Dark', IconMoon],
    ['auto', 'As the system', IconDeviceDesktop],
  ] as const
  const out = useMutation({ mutationFn: signOut })
  useEffect(() => {
    // The pages without script read it.
    document.cookie = `lanyard-colours=${colorScheme}; path=${apiBase.pathname}; max-age=${colorScheme === 'auto' ? 0 : 31_536_000}; samesite=lax`
  }, [colorScheme])
  return (
    <Menu position="bottom-end" width={240} withinPortal>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" size={34} radius="xl">
          <VisuallyHidden>{plain(me.name, 40)}: your menu</VisuallyHidden>
          <Avatar size={28} radius="xl" color="ink" variant="filled" aria-hidden>
            {plain(me.name, 40).split(/\s+/).map((w) => w[0]).slice(0, 2).join('').toUpperCase()}
          </Avatar>
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>
          <Text fw={600} size="sm" c="var(--mantine-color-text)" className="clip">
            {plain(me.name, 60)}
          </Text>
          {me.roles.join(', ') || 'no role'}
        </Menu.Label>
        <Menu.Item component={Link} to="/me">
          You and your sessions
        </Menu.Item>
        <Menu.Divider />
        {schemes.map(([v, label, Icon]) => (
          <Menu.Item key={v} leftSection={<Icon size={15} />} onClick={() => setColorScheme(v)} aria-current={colorScheme === v}>
            {label} {colorScheme === v ? '✓' : ''}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <Menu.Item onClick={() => out.mutate(false)}>Sign out</Menu.Item>
        <Menu.Item onClick={() => out.mutate(true)}>Sign out everywhere</Menu.Item>
      </Menu.Dropdown>
      {out.isError && (
        <Modal opened onClose={out.reset} title="You are still signed in">
          <Failure error={out.error} again={() => out.mutate(out.variables)} />
        </Modal>
      )}
    </Menu>
  )
}
