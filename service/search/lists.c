/* Words of languages, general ones: which say little by themselves, and which are
 * forms of another word that a stemmer does not find. Written down from grammars,
 * not from texts: nothing in here may be chosen for a set that search is measured
 * on. Contractions come without what follows their apostrophe. */
#include "search/language.h"

const char english_stop[] =
    "a an the i me my myself mine we us our ours ourselves you your yours yourself yourselves he "
    "him his himself she her hers herself it its itself they them their theirs themselves one "
    "ones this that these those who whom whose which what when where why how am is are was were "
    "be been being do does did doing done have has had having will would shall should can could "
    "might must ought cannot let ca wo sha ai dont doesnt didnt isnt arent wasnt werent wont cant "
    "couldnt wouldnt shouldnt havent hasnt hadnt im ive youre youve theyre thats whats and or but "
    "nor if then else than because as until while so though although whether of at by for with "
    "about against between into through during before after above below to from up down in out on "
    "off over under upon within without toward towards onto per via again further once here there "
    "now just also too very only even still yet ever all any both each few more most other others "
    "another some such same own every either neither no not s t d ll m re ve y o";

const char english_irregular[] =
    /* verbs */
    "arise arose arisen|awake awoke awoken|bear bore borne|beat beaten|become became|"
    "begin began begun|bend bent|bet bets|bind bound|bite bit bitten|bleed bled|blow blew blown|"
    "break broke broken|breed bred|bring brought|build built|burn burnt|buy bought|catch caught|"
    "choose chose chosen|cling clung|come came|creep crept|deal dealt|dig dug|draw drew drawn|"
    "dream dreamt|drink drank drunk|drive drove driven|eat ate eaten|fall fell fallen|feed fed|"
    "feel felt|fight fought|find found|flee fled|fling flung|fly flew flown|forbid forbade "
    "forbidden|forget forgot forgotten|forgive forgave forgiven|freeze froze frozen|get got "
    "gotten|give gave given|go goes went gone going|grind ground|grow grew grown|hang hung|hear "
    "heard|hide hid hidden|hold held|keep kept|kneel knelt|know knew known|lay laid|lead led|lean "
    "leant|leap leapt|learn learnt|leave left|lend lent|lie lain lying|light lit|lose lost|make "
    "made|mean meant|meet met|mistake mistook mistaken|overcome overcame|pay paid|prove proven|"
    "ride rode ridden|ring rang rung|rise rose risen|run ran|say said|see saw seen|seek sought|"
    "sell sold|send sent|sew sewn|shake shook shaken|shine shone|shoot shot|show shown|shrink "
    "shrank shrunk|sing sang sung|sink sank sunk|sit sat|sleep slept|slide slid|smell smelt|speak "
    "spoke spoken|speed sped|spell spelt|spend spent|spill spilt|spin spun|spoil spoilt|spring "
    "sprang sprung|stand stood|steal stole stolen|stick stuck|sting stung|strike struck|strive "
    "strove striven|swear swore sworn|sweep swept|swell swollen|swim swam swum|swing swung|take "
    "took taken|teach taught|tear tore torn|tell told|think thought|throw threw thrown|"
    "understand understood|undertake undertook undertaken|wake woke woken|wear wore worn|weave "
    "wove woven|weep wept|win won|wind wound|withdraw withdrew withdrawn|write wrote written|"
    /* nouns */
    "child children|person people|man men|woman women|wife wives|life lives|knife knives|leaf "
    "leaves|half halves|shelf shelves|wolf wolves|thief thieves|loaf loaves|calf calves|foot "
    "feet|tooth teeth|goose geese|mouse mice|louse lice|ox oxen|die dice|crisis crises|analysis "
    "analyses|thesis theses|basis bases|criterion criteria|phenomenon phenomena|medium media|"
    "datum data|cactus cacti|fungus fungi|nucleus nuclei|alumnus alumni|bacterium bacteria|"
    /* adjectives */
    "good better best|bad worse worst|far farther farthest|"
    /* short for */
    "television tv telly|telephone phone|bicycle bike|photograph photo|mother mom mum mommy mummy|"
    "father dad daddy|grandmother grandma granny|grandfather grandpa|child kid kids|examination "
    "exam|laboratory lab|mathematics math maths|refrigerator fridge|airplane plane aeroplane|"
    "influenza flu|advertisement ad advert|information info|veterinarian vet|gymnasium gym|"
    "application app|doctor dr doc|"
    /* spellings */
    "color colour|favorite favourite|flavor flavour|neighbor neighbour|honor honour|labor labour|"
    "humor humour|behavior behaviour|harbor harbour|theater theatre|center centre|gray grey|"
    "traveling travelling|traveled travelled|traveler traveller|jewelry jewellery|program "
    "programme|catalog catalogue|dialog dialogue|organize organise|realize realise|apologize "
    "apologise|recognize recognise|pajamas pyjamas|tire tyre|check cheque";

const char german_stop[] =
    "aber alle als also am an auch auf aus bei bin bis bist da damit dann das dass daß dein deine "
    "dem den der des dich die dies diese dieser dieses dir doch dort du durch ein eine einem "
    "einen einer eines er es euch euer für gegen gewesen hab habe haben hat hatte hatten hier hin "
    "hinter ich ihm ihn ihnen ihr ihre im in indem ins ist ja jede jeder jedes jener kann kein "
    "keine können man manche mein meine mich mir mit muss musste nach nicht nichts noch nun nur "
    "ob oder ohne sehr sein seine sich sie sind so soll sollte sondern sonst über um und uns "
    "unser unter viel vom von vor war waren was weil weiter welche welcher wenn wer werde werden "
    "wie wieder will wir wird wo wollen würde zu zum zur zwar zwischen";

const char french_stop[] =
    "à ai aie ainsi as au aux avait avec avez avons c ce ceci cela ces cet cette chez comme d "
    "dans de des du elle elles en es est et été étaient était étant être eu eux fut il ils j je l "
    "la le les leur leurs lui m ma mais me même mes moi mon n ne nos notre nous on ont ou où par "
    "pas pour plus qu que quel quelle quels quelles qui quoi s sa sans se sera ses si soit son "
    "sont suis sur t ta te tes toi ton tu un une vos votre vous y";

const char spanish_stop[] =
    "a al algo algunas algunos ante antes como con contra cual cuando de del desde donde durante "
    "e el él ella ellas ellos en entre era eran eres es esa esas ese eso esos esta está están "
    "estas este esto estos estoy fue fueron ha había han has hasta hay he la las le les lo los "
    "más me mi mí mis mucho muy nada ni no nos nosotros o os otra otro para pero poco por porque "
    "que qué quien quién se sea ser si sí sido sin sobre son soy su sus también tanto te tiene "
    "todo todos tu tú tus un una uno unos y ya yo";

const char italian_stop[] =
    "a ad al all alla alle allo ai agli anche c che chi ci come con contro cosa cui d da dal dall "
    "dalla dei del dell della delle dello degli di dove e è ed era erano essere fra fu gli ha hai "
    "hanno ho i il in io l la le lei li lo loro lui ma me mi mia mie miei mio ne nei nel nell "
    "nella nelle nello no noi non nostra nostro o per perché più quale quando quella quelle "
    "quelli quello questa queste questi questo s se sei si sia siamo sono su sua sue sui sul sull "
    "sulla suo suoi tra tu tua tuo un una uno vi voi vostro";

const char portuguese_stop[] =
    "a à ao aos as às até com como da das de dela dele deles depois do dos e é ela elas ele eles "
    "em entre era eram essa essas esse esses esta está estão estas este estes eu foi foram há "
    "isso isto já lhe lhes mais mas me mesmo meu meus minha minhas muito na não nas nem no nos "
    "nós nossa nosso num numa o os ou para pela pelas pelo pelos por qual quando que quem são se "
    "sem ser seu seus só sua suas também te tem têm tinha tu tua um uma você vocês";

const char dutch_stop[] =
    "aan al alles als altijd andere ben bij daar dan dat de der deze die dit doch doen door dus "
    "een en er ge geen haar had heb hebben heeft hem het hier hij hoe hun iemand iets ik in is ja "
    "je kan kon maar me meer men met mij mijn moet na naar niet niets nog nu of om omdat ons ook "
    "op over reeds te tegen toch toen tot u uit uw van veel voor want waren was wat we wel werd "
    "wie wij wil worden zal ze zei zelf zich zij zijn zo zou";

const char swedish_stop[] =
    "alla allt att av blev bli blir då de dem den denna deras dess det detta dig din du där efter "
    "ej eller en er ett från för ha hade han hans har henne hennes hon honom hur här i icke in "
    "inte jag ju kan kunde man med mig min mina mitt mot mycket ni nu när någon något och om oss "
    "på samma sedan sig sin sina sitt själv skulle som så till under upp ut utan vad var vara "
    "varför varit vem vi vid vilken är över";

const char russian_stop[] =
    "а без более бы был была были было быть в вам вас во вот все всё всего вы где да для до его "
    "ее её если есть еще ещё же за здесь и из или им их к как какая какой когда кто ли мне меня "
    "мы на надо нас не него нее нет ни них но ну о об он она они от по под при с сам себя со так "
    "такой там тебя тем то тоже только том ты у уже чего чем что чтобы эта эти это этого этот я";
