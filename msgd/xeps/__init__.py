"""One small module for each XEP; `ALL` lists the extensions that this server has."""

from typing import Final

from msgd.routing.extension import Extension
from msgd.xeps.xep_0012_last_activity import LastActivity
from msgd.xeps.xep_0030_disco import ServiceDiscovery
from msgd.xeps.xep_0049_private import PrivateStorage
from msgd.xeps.xep_0054_vcard import VCardTemp
from msgd.xeps.xep_0059_result_sets import ResultSets
from msgd.xeps.xep_0060_pubsub import PublishSubscribe
from msgd.xeps.xep_0077_registration import Registration
from msgd.xeps.xep_0084_avatars import Avatars
from msgd.xeps.xep_0092_version import SoftwareVersion
from msgd.xeps.xep_0114_components import Components
from msgd.xeps.xep_0115_caps import EntityCapabilities
from msgd.xeps.xep_0128_extended_information import ExtendedInformation
from msgd.xeps.xep_0153_vcard_avatars import VCardAvatars
from msgd.xeps.xep_0157_contact_addresses import ContactAddresses
from msgd.xeps.xep_0160_offline import OfflineMessages
from msgd.xeps.xep_0163_pep import PersonalEventing
from msgd.xeps.xep_0178_external import ServerCertificates
from msgd.xeps.xep_0185_dialback_keys import DialbackKeys
from msgd.xeps.xep_0191_blocking import Blocking
from msgd.xeps.xep_0198_stream_management import StreamManagement
from msgd.xeps.xep_0199_ping import Ping
from msgd.xeps.xep_0202_time import EntityTime
from msgd.xeps.xep_0203_delay import DelayedDelivery
from msgd.xeps.xep_0215_external_services import ExternalServices
from msgd.xeps.xep_0220_dialback import Dialback
from msgd.xeps.xep_0222_public_data import PublicData
from msgd.xeps.xep_0223_private_data import PrivateData
from msgd.xeps.xep_0280_carbons import Carbons
from msgd.xeps.xep_0288_bidirectional import BidirectionalLinks
from msgd.xeps.xep_0292_vcard4 import VCard4
from msgd.xeps.xep_0313_archive import MessageArchive
from msgd.xeps.xep_0334_hints import ProcessingHints
from msgd.xeps.xep_0352_client_state import ClientState
from msgd.xeps.xep_0357_push import Push
from msgd.xeps.xep_0359_stanza_ids import StanzaIds
from msgd.xeps.xep_0368_direct_tls import DirectTls
from msgd.xeps.xep_0377_reporting import Reporting
from msgd.xeps.xep_0386_bind2 import Bind2
from msgd.xeps.xep_0388_sasl2 import Sasl2
from msgd.xeps.xep_0398_avatar_conversion import AvatarConversion
from msgd.xeps.xep_0402_bookmarks import NativeBookmarks
from msgd.xeps.xep_0411_bookmark_conversion import BookmarkConversion
from msgd.xeps.xep_0424_retraction import MessageRetraction
from msgd.xeps.xep_0440_channel_bindings import ChannelBindings
from msgd.xeps.xep_0441_archive_preferences import ArchivePreferences
from msgd.xeps.xep_0474_downgrade_protection import DowngradeProtection
from msgd.xeps.xep_0478_stream_limits import StreamLimits
from msgd.xeps.xep_0484_fast import Fast
from msgd.xeps.xep_0490_displayed import DisplayedSynchronization

ALL: Final[tuple[type[Extension], ...]] = (
    ServiceDiscovery,
    ExtendedInformation,
    ContactAddresses,
    Components,
    EntityCapabilities,
    StreamManagement,
    Sasl2,
    Bind2,
    ChannelBindings,
    DowngradeProtection,
    StreamLimits,
    Fast,
    OfflineMessages,
    DelayedDelivery,
    ServerCertificates,
    DialbackKeys,
    Dialback,
    BidirectionalLinks,
    DirectTls,
    ProcessingHints,
    StanzaIds,
    # Before anything else sees a stanza.
    Blocking,
    Reporting,
    # Those that follow get what an account sends with the id that it has in the archive.
    ArchivePreferences,
    MessageArchive,
    ResultSets,
    MessageRetraction,
    Carbons,
    ClientState,
    Push,
    Ping,
    LastActivity,
    SoftwareVersion,
    EntityTime,
    ExternalServices,
    PrivateStorage,
    VCardTemp,
    PublishSubscribe,
    PersonalEventing,
    PublicData,
    PrivateData,
    NativeBookmarks,
    BookmarkConversion,
    DisplayedSynchronization,
    Avatars,
    VCardAvatars,
    AvatarConversion,
    VCard4,
    Registration,
)
